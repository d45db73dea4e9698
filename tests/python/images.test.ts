// Images that model folders prepare in Python, against the workbench: all filters, both roundings of the middle, what is
// transparent, 16 bit grayscale; and the names of classes as each of timm's files has them.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import sharp from "sharp";
import { imageLoader } from "../../workbench/data/images/index.ts";
import type { ImageLoaderOptions } from "../../workbench/data/images/transform.ts";
import { CLIPPED, deepGray } from "../data/images/deep-gray.ts";
import { openImagesNow } from "../data/images/image-sets.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith, SOURCES } from "./python.ts";

const python = pythonWith("torch", "PIL");
const at = temporaryFolder();

const MEAN = [0.485, 0.456, 0.406] as const;
const STD = [0.229, 0.224, 0.225] as const;
const PLAIN = { size: 20, mean: MEAN, std: STD, interpolation: "bicubic", crop_share: 20 / 23, crop_mode: "center" };

const CASES: Record<string, unknown>[] = [
  PLAIN,
  { ...PLAIN, crop_rounding: "down" },
  { ...PLAIN, crop_mode: "squash", crop_rounding: "down" },
  { ...PLAIN, transparency: "white" },
  ...["nearest", "lanczos", "box", "hamming"].map((interpolation) => ({ ...PLAIN, interpolation })),
  // No rescaling: bytes less the mean.
  { ...PLAIN, mean: [0.5 / 255, 0, 0], std: [1 / 255, 1 / 255, 0.5 / 255] },
];

const LABELS: [Record<string, unknown>, string[]][] = [
  [{ label_names: ["a", "b", "c"] }, ["c", "b", "a"]],
  [{ label_names: { 0: "a", 1: "b", 2: "c" } }, ["c", "b", "a"]],
  [{ labels: ["a", "b", "c"] }, ["c", "b", "a"]],
  [{ pretrained_cfg: { label_names: ["a", "b", "c"] } }, ["c", "b", "a"]],
  [{ id2label: { 1: "b", 0: "a" } }, ["2", "b", "a"]],
  [{}, ["2", "1", "0"]],
];

function folderOf(name: string, images: unknown, others: object = {}): string {
  const folder = at(name);
  mkdirSync(folder);
  writeFileSync(`${folder}/config.json`, JSON.stringify({ model_type: "gblr_vit", ...others, gblr: { images } }));
  return folder;
}

const optionsOf = (part: Record<string, unknown>): ImageLoaderOptions => {
  const { size, mean, std, interpolation, crop_share, crop_mode, crop_rounding, transparency } = part;
  const crop = {
    cropShare: crop_share,
    cropMode: crop_mode,
    ...(crop_rounding !== undefined && { cropRounding: crop_rounding }),
  };
  return {
    size,
    mean,
    std,
    transparency,
    transform: { kind: "evaluate", interpolation, ...crop },
  } as ImageLoaderOptions;
};

const FILES = [0, 1, 2].map((i) => at(`set/train/a/${i}.png`));

async function write(): Promise<void> {
  mkdirSync(at("set/train/a"), { recursive: true });
  const sizes = [
    [37, 53, 3],
    [64, 41, 4],
  ] as const;
  for (const [i, [width, height, channels]] of sizes.entries()) {
    const data = Uint8Array.from({ length: channels * width * height }, (_, j) => (j * j * 31 + j * 7) % 251);
    await sharp(data, { raw: { width, height, channels } })
      .png()
      .toFile(FILES[i] as string);
  }
  writeFileSync(FILES[2] as string, deepGray());
}

interface Answer {
  values: number[][];
  top: [string, number][][];
}

const ask = (models: string[], files: string[]): Promise<Answer[]> =>
  askPython<Answer[]>(python, "prepared.py", { args: [SOURCES, JSON.stringify({ models, files })] });

describe.skipIf(!python)("the images of a model folder in Python", () => {
  beforeAll(write);

  test(
    "are the workbench's",
    async () => {
      const answers = await ask(
        CASES.map((part, i) => folderOf(`case-${i}`, part)),
        FILES,
      );
      const images = await openImagesNow({ dataset: at("set"), split: "train", cache: at("cache") });
      for (const [i, part] of CASES.entries()) {
        const loader = imageLoader(images, { ...optionsOf(part), workers: 0 });
        const { pixels } = await loader.read([0, 1, 2]);
        await loader.close();
        for (const [j, values] of (answers[i] as Answer).values.entries()) {
          // Python has color by color, we pixel by pixel.
          const levels = values.map((value, k) => {
            const [color, pixel] = [Math.floor(k / 400), k % 400];
            const ours = pixels[1200 * j + 3 * pixel + color] as number;
            return Math.abs(value - ours) * 255 * ((part.std as number[])[color] as number);
          });
          const [most, mean] = [Math.max(...levels), levels.reduce((sum, level) => sum + level, 0) / levels.length];
          // Pillow's later versions round otherwise, by one level here and there.
          expect({ i, j, isNear: most < 1.001 && mean < 0.5 }).toEqual({ i, j, isNear: true });
        }
      }
    },
    PATIENCE,
  );

  test(
    "of 16 bit grayscale are clipped, and classes have the names of the file",
    async () => {
      const part = { ...PLAIN, size: 4, mean: [0, 0, 0], std: [1, 1, 1], interpolation: "nearest", crop_share: 1 };
      const models = LABELS.map(([names], i) => folderOf(`labels-${i}`, { ...part, crop_mode: "squash" }, names));
      for (const [i, { values, top }] of (await ask(models, [FILES[2] as string])).entries()) {
        const row = values[0]?.slice(0, 4).map((value) => Math.round(255 * value));
        expect({ i, row, names: top[0]?.map(([name]) => name) }).toEqual({
          i,
          row: [...CLIPPED],
          names: LABELS[i]?.[1] as string[],
        });
      }
    },
    PATIENCE,
  );

  test(
    "are refused where the folder wants what is not known",
    async () => {
      for (const [field, value] of Object.entries({
        crop_rounding: "up",
        transparency: "black",
        interpolation: "cubic",
      })) {
        const folder = folderOf(`unknown-${field}`, { ...PLAIN, [field]: value });
        const message = await ask([folder], []).then(String, ({ message }: Error) => message);
        expect(message).toContain(`gblr.images.${field} has the unknown value "${value}"`);
      }
    },
    PATIENCE,
  );
});
