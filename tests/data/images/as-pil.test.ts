// Decoding, resizing and every change of color and shape, against PIL itself on the same pictures: equal to the last
// bit, but for what is said.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { rotation, transformed } from "../../../workbench/data/images/augment/affine.ts";
import {
  autoContrast,
  brightness,
  contrast,
  equalize,
  hue,
  invert,
  posterize,
  saturation,
  sharpness,
  solarize,
  solarizeAdd,
} from "../../../workbench/data/images/augment/color.ts";
import { borderOf, evaluationView } from "../../../workbench/data/images/crop.ts";
import { decodeImage } from "../../../workbench/data/images/decode.ts";
import type { Pixels } from "../../../workbench/data/images/pixels.ts";
import { resize } from "../../../workbench/data/images/resample.ts";
import { bytesOf, IMAGENET, IMAGES_ARE_HERE, openImagesNow } from "./image-sets.ts";
import { type Dumped, difference, fromPil, installedPils, pixelsOf } from "./pil.ts";

const folder = mkdtempSync(join(tmpdir(), "gblr-pil-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A smooth picture with noise, neither square nor even. */
async function picture(width: number, height: number): Promise<Buffer> {
  const data = new Uint8Array(width * height * 3);
  let state = 7;
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    data[i] = Math.max(0, Math.min(255, 128 + 90 * Math.sin(x / 9 + (i % 3)) + 60 * Math.cos(y / 7) + (state >>> 27)));
  }
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

const decoded = async (name: string) => decodeImage(readFileSync(join(folder, name)));
const copyOf = ({ data, ...size }: Pixels): Pixels => ({ ...size, data: Uint8Array.from(data) });

/** Pillow before 13 never resizes the rows first. Where that is done now, pictures differ from it by so many levels. */
const BEFORE_13: Record<string, number> = {
  "41x130.png center 32 bicubic": 2,
  "41x130.png center 33 bicubic": 2,
  "41x130.png center 37 bicubic": 1,
  "41x130.png center 32 bilinear": 1,
  "41x130.png center 32 lanczos": 3,
  "41x130.png center 32 box": 1,
  "41x130.png center 33 hamming": 1,
  "mode-60x91.png squash 32 bilinear": 1,
  "mode-60x91.png squash 28 bicubic": 1,
  "mode-20x33.png squash 32 bilinear": 1,
  "mode-20x33.png squash 28 bicubic": 1,
  "crop.png 30x41 24 bicubic": 1,
};

for (const pil of installedPils())
  describe(`images are as Pillow ${pil.version} has them`, () => {
    /** By picture and what was done to it. */
    const expectDifference = (what: string, most: number) =>
      expect([what, most]).toEqual([what, pil.version < 13 ? (BEFORE_13[what] ?? 0) : 0]);

    test("for grayscale, CMYK, transparency, palettes, single bits and a camera's orientation", async () => {
      const files = await fromPil<Dumped[]>(pil, { what: "kinds", folder });
      expect(files.length).toBe(14);
      for (const { name, width, height } of files) {
        const image = await decoded(name);
        expect([name, image.width, image.height]).toEqual([name, width, height]);
        expect([name, difference(image.data, pixelsOf(folder, name))]).toEqual([name, { most: 0, mean: 0 }]);
      }
    });

    test("over white where that is asked for, whatever makes them transparent", async () => {
      const files = await fromPil<Dumped[]>(pil, { what: "over white", folder });
      expect(files.length).toBe(6);
      for (const { name } of files) {
        const image = await decodeImage(readFileSync(join(folder, name)), { transparency: "white" });
        expect([name, difference(image.data, pixelsOf(folder, name)).most]).toEqual([name, 0]);
      }
    });

    test("resized to any size and cropped to the center, in all interpolations", async () => {
      // Reduced, enlarged, halves of pixels at either side of the crop, and nothing to resize.
      const sizes: [number, number][] = [
        [91, 60],
        [60, 91],
        [300, 47],
        [20, 33],
        [64, 64],
        [37, 37],
        [41, 130],
      ];
      const names = sizes.map(([width, height]) => `${width}x${height}.png`);
      for (const [i, name] of names.entries())
        writeFileSync(join(folder, name), await picture(...(sizes[i] as [number, number])));
      for (const [size, share, interpolation] of [
        [32, 0.875, "bicubic"],
        [33, 0.9, "bicubic"],
        [37, 1, "bicubic"],
        [32, 0.875, "bilinear"],
        [32, 0.9, "nearest"],
        [32, 0.875, "lanczos"],
        [32, 0.875, "box"],
        [33, 0.9, "hamming"],
      ] as const) {
        await fromPil(pil, { what: "evaluate", folder, names, size, share, interpolation });
        for (const name of names) {
          const view = evaluationView(await decoded(name), { size, cropShare: share, interpolation });
          const { most } = difference(view.data, pixelsOf(folder, name));
          expectDifference(`${name} center ${size} ${interpolation}`, most);
        }
      }
    });

    test("squashed to a square, or within a border of the mean, in timm's and Hugging Face's manner", async () => {
      const sizes: [number, number][] = [
        [91, 60],
        [60, 91],
        [300, 7],
        [20, 33],
        [32, 32],
      ];
      const names = sizes.map(([width, height]) => `mode-${width}x${height}.png`);
      for (const [i, name] of names.entries())
        writeFileSync(join(folder, name), await picture(...(sizes[i] as [number, number])));
      const mean = [0.3, 0.5, 0.1] as const;
      for (const [mode, size, share, interpolation] of [
        ["squash", 32, 1, "bilinear"],
        ["squash", 28, 0.875, "bicubic"],
        ["border", 32, 1, "bicubic"],
        ["border", 33, 0.8, "bilinear"],
      ] as const) {
        await fromPil(pil, { what: "evaluate", folder, names, size, share, interpolation, mode, mean });
        for (const name of names) {
          const how = { size, cropShare: share, interpolation, cropMode: mode, border: borderOf(mean) };
          const view = evaluationView(await decoded(name), how);
          const { most } = difference(view.data, pixelsOf(folder, name));
          expectDifference(`${name} ${mode} ${size} ${interpolation}`, most);
        }
      }
    });

    test("a part of a picture resized looks at nothing beyond that part", async () => {
      writeFileSync(join(folder, "crop.png"), await picture(80, 70));
      const wide = { left: 13, top: 21, width: 41, height: 30 };
      const tall = { left: 21, top: 13, width: 30, height: 41 };
      for (const [size, interpolation, box] of [
        [24, "bicubic", wide],
        [64, "bilinear", wide],
        [24, "bicubic", tall],
      ] as const) {
        const { left, top, width, height } = box;
        await fromPil(pil, {
          what: "crop",
          folder,
          name: "crop.png",
          box: [left, top, width, height],
          size,
          interpolation,
        });
        const part = resize(await decoded("crop.png"), { width: size, height: size, interpolation, from: box });
        const { most } = difference(part.data, pixelsOf(folder, "crop.png"));
        expectDifference(`crop.png ${width}x${height} ${size} ${interpolation}`, most);
      }
    });

    test("every operation on colors, rotations, shears and shifts", async () => {
      writeFileSync(join(folder, "augment.png"), await picture(51, 43));
      const image = await decoded("augment.png");
      const options = { fill: [9, 99, 199] as const };
      const inPlace = (change: (pixels: Pixels) => void) => {
        const pixels = copyOf(image);
        change(pixels);
        return pixels;
      };
      const cases: [string, number, Pixels][] = [];
      for (const factor of [0.1, 0.73, 1, 1.9])
        for (const [name, change] of Object.entries({ brightness, contrast, saturation, sharpness }))
          cases.push([name, factor, inPlace((pixels) => change(pixels, factor))]);
      for (const bits of [1, 3, 8]) cases.push(["posterize", bits, inPlace((pixels) => posterize(pixels, bits))]);
      for (const level of [0, 100, 256]) cases.push(["solarize", level, inPlace((pixels) => solarize(pixels, level))]);
      cases.push(["solarizeAdd", 77, inPlace((pixels) => solarizeAdd(pixels, { add: 77 }))]);
      for (const [name, change] of Object.entries({ invert, autoContrast, equalize }))
        cases.push([name, 0, inPlace(change)]);
      for (const turn of [-0.3, 0, 0.1, 0.5]) cases.push(["hue", turn, inPlace((pixels) => hue(pixels, turn))]);
      for (const degrees of [-27, 5, 30])
        cases.push([
          "rotate",
          degrees,
          transformed(image, rotation(image, degrees), { ...options, interpolation: "bicubic" }),
        ]);
      cases.push(["shear", 0.27, transformed(image, [1, 0.27, 0, 0, 1, 0], { ...options, interpolation: "bilinear" })]);
      cases.push([
        "shearBicubic",
        -0.3,
        transformed(image, [1, 0, 0, -0.3, 1, 0], { ...options, interpolation: "bicubic" }),
      ]);
      cases.push([
        "shift",
        0.41,
        transformed(image, [1, 0, 0.41 * 51, 0, 1, 0], { ...options, interpolation: "bilinear" }),
      ]);
      const changes = cases.map(([name, value]) => [name, value]);
      await fromPil(pil, { what: "change", folder, name: "augment.png", changes });
      const seen = cases.map(([name, value, { data }], i) => [
        name,
        value,
        difference(data, pixelsOf(folder, String(i))).most,
      ]);
      expect(seen).toEqual(cases.map(([name, value]) => [name, value, 0]));
    });

    describe.skipIf(!IMAGES_ARE_HERE)("on ImageNet", () => {
      let names: string[] = [];
      beforeAll(async () => {
        const images = await openImagesNow({ dataset: IMAGENET, split: "validation", cache: join(folder, "cache") });
        for (let i = 0; i < images.length; i += 2) {
          writeFileSync(join(folder, `${i}.jpg`), await bytesOf(images, i));
          names = [...names, `${i}.jpg`];
        }
      });

      test("photographs at 224 with a crop of 0.875 and of 0.9", async () => {
        for (const share of [0.875, 0.9]) {
          await fromPil(pil, { what: "evaluate", folder, names, size: 224, share, interpolation: "bicubic" });
          for (const name of names) {
            const view = evaluationView(await decoded(name), { size: 224, cropShare: share });
            expect([name, difference(view.data, pixelsOf(folder, name)).most]).toEqual([name, 0]);
          }
        }
      });
    });
  });
