// A data set of images in folders, small enough for tests and easy enough to learn in seconds: three classes, each of a
// color of its own with noise on it. And flags of experiments on it.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { seededUniform } from "../../workbench/engine/core/random.ts";

export const CLASSES = { blue: [60, 80, 190], green: [70, 180, 80], red: [190, 70, 60] } as const;

const EDGE = 16;

/** @returns the folder, with train/, and test/ of half as many */
export async function makeTinyImages(folder: string, { each = 12 } = {}): Promise<string> {
  const uniform = seededUniform(5);
  for (const [split, count] of Object.entries({ train: each, test: each / 2 })) {
    for (const [name, color] of Object.entries(CLASSES)) {
      mkdirSync(join(folder, split, name), { recursive: true });
      for (let i = 0; i < count; i++) {
        const data = Uint8Array.from({ length: EDGE * EDGE * 3 }, (_, k) => {
          const value = (color[k % 3] as number) + 100 * (uniform() - 0.5);
          return Math.max(0, Math.min(255, Math.round(value)));
        });
        const image = sharp(data, { raw: { width: EDGE, height: EDGE, channels: 3 } });
        writeFileSync(join(folder, split, name, `${i}.png`), await image.png().toBuffer());
      }
    }
  }
  return folder;
}

/** Flags of a ViT of two blocks on such images, that learns for a few seconds. */
export const QUICK_VIT = [
  ...["--model", "scratch:vit_tiny_patch4_16", "--width", "32", "--blocks", "2", "--heads", "2", "--size", "16"],
  ...["--hold-out", "0.25", "--mixup", "0", "--cutmix", "0", "--sigma-epochs", "0,2"],
  ...["--batch", "9", "--micro-batch", "9", "--steps", "24", "--warmup-epochs", "0.5", "--learning-rate", "2e-3"],
  ...["--evaluate-every", "4", "--engine", "wasm", "--workers", "0"],
];
