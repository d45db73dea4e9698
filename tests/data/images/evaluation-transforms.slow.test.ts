// What evaluation sees of an image, against timm's and torchvision's own transforms: to the last bit where they resize by
// Pillow, as both do by default. Tensors are resized by PyTorch's own kernel, which is 1 to 4 levels of 255 from Pillow.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { borderOf, evaluationView } from "../../../workbench/data/images/crop.ts";
import { decodeImage } from "../../../workbench/data/images/decode.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";
import { bytesOf, IMAGENET, IMAGES_ARE_HERE, openImagesNow } from "./image-sets.ts";
import { difference, pixelsOf } from "./pil.ts";

const python = pythonWith("timm", "torchvision", "PIL");
const folder = mkdtempSync(join(tmpdir(), "gblr-transforms-"));
afterAll(() => rmSync(folder, { recursive: true }));
const MEAN = [0.3, 0.5, 0.1] as const;

const SIZES = [
  [91, 60],
  [60, 91],
  [300, 47],
  [47, 300],
  [20, 33],
  [256, 256],
  [37, 37],
] as const;

/** Noise of every level on slopes, so that filters overshoot and rounding shows. */
function picture(width: number, height: number): Promise<Buffer> {
  let state = width * height;
  const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    return Math.max(0, Math.min(255, 128 + 90 * Math.sin(x / 9 + (i % 3)) + 60 * Math.cos(y / 7) + (state >>> 27)));
  });
  const raw = { width, height, channels: 3 } as const;
  return sharp(data, { raw }).png().toBuffer();
}

let names: string[] = [];

beforeAll(async () => {
  if (!python) return;
  for (const [width, height] of SIZES) {
    writeFileSync(join(folder, `${width}x${height}.png`), await picture(width, height));
    names.push(`${width}x${height}.png`);
  }
  if (!IMAGES_ARE_HERE) return;
  const images = await openImagesNow({ dataset: IMAGENET, split: "validation", cache: join(folder, "cache") });
  for (let i = 0; i < images.length; i += 10) {
    writeFileSync(join(folder, `${i}.jpg`), await bytesOf(images, i));
    names = [...names, `${i}.jpg`];
  }
}, PATIENCE);

const CASES = [
  ["timm", 32, 0.875, "bicubic", "center", 0],
  ["timm", 33, 0.9, "bilinear", "center", 0],
  ["timm", 224, 0.95, "bicubic", "center", 0],
  ["timm", 32, 1, "bicubic", "squash", 0],
  ["timm", 40, 0.9, "bilinear", "squash", 0],
  ["timm", 32, 1, "bicubic", "border", 0],
  ["timm", 33, 0.8, "bilinear", "border", 0],
  ["timm", 32, 0.9, "nearest", "center", 0],
  ["torchvision", 224, 0.875, "bilinear", "center", 0],
  ["torchvision", 32, 0.9, "bicubic", "center", 0],
  ["torchvision", 32, 0.875, "nearest", "center", 0],
  ["torchvision on tensors", 224, 0.875, "bilinear", "center", 1],
  ["torchvision on tensors", 32, 0.9, "bicubic", "center", 4],
] as const;

describe.skipIf(!python)("evaluation sees what these see", () => {
  beforeAll(async () => {
    const cases = CASES.map(([library, size, share, interpolation, mode]) => ({
      library,
      size,
      share,
      interpolation,
      mode,
    }));
    const input = JSON.stringify({ folder, names, cases });
    await askPython(python, join(import.meta.dirname, "transforms.py"), { input });
  }, PATIENCE);

  for (const [i, [library, size, cropShare, interpolation, cropMode, most]] of CASES.entries()) {
    test(`${library}: ${interpolation}, ${cropMode}, ${size} at ${cropShare}`, async () => {
      const found: Record<string, number> = {};
      for (const name of names) {
        const image = await decodeImage(readFileSync(join(folder, name)));
        const view = evaluationView(image, { size, cropShare, interpolation, cropMode, border: borderOf(MEAN) });
        found[name] = difference(view.data, pixelsOf(folder, `${i}.${name}`)).most;
      }
      const far = Object.entries(found).filter(([, levels]) => levels > most);
      expect(far).toEqual([]);
    });
  }
});
