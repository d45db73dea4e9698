// 16 bit grayscale: what is above 255 becomes 255, as Pillow's convert("RGB") has it, wherever an image comes from; and it
// is told.

import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeImage } from "../../../workbench/data/images/decode.ts";
import { imageLoader } from "../../../workbench/data/images/index.ts";
import { parquetFile } from "../write-parquet.ts";
import { CLIPPED, deepGray } from "./deep-gray.ts";
import { openImagesNow, plainImage, write } from "./image-sets.ts";

const root = mkdtempSync(join(tmpdir(), "gblr-deep-"));
afterAll(() => rmSync(root, { recursive: true }));

const gray = (levels: readonly number[]) => levels.flatMap((level) => [level, level, level]);

test("is clipped to 255, and says whether anything was", async () => {
  const deep = await decodeImage(deepGray());
  expect([deep.width, deep.height, [...deep.data], deep.clipped]).toEqual([4, 1, gray(CLIPPED), true]);
  const shallow = await decodeImage(deepGray([0, 200, 255]));
  expect([[...shallow.data], shallow.clipped]).toEqual([gray([0, 200, 255]), false]);
  expect((await decodeImage(await plainImage(1))).clipped).toBe(false);
});

test("is clipped with one transparent level too, which is no second channel", async () => {
  expect([...(await decodeImage(deepGray([0, 200, 300, 40000], 300))).data]).toEqual(gray(CLIPPED));
});

test("is the same in folders and in parquet, in and out of threads, and the loader names those that lost levels", async () => {
  const [deep, plain] = [deepGray(), await plainImage(3)];
  const dataset = write(join(root, "folders"), { "train/a/1.png": deep, "train/a/2.png": plain });
  const table = write(join(root, "table"), {
    "train.parquet": parquetFile([
      { image: [deep, plain].map((bytes) => ({ bytes, path: "x.png" })), label: [0n, 0n] },
    ]),
  });
  const found: unknown[] = [];
  for (const place of [dataset, table]) {
    for (const workers of [0, 1]) {
      const images = await openImagesNow({ dataset: place, split: "train", cache: join(root, "cache") });
      const transform = { kind: "evaluate", cropMode: "squash", cropShare: 1, interpolation: "nearest" } as const;
      const loader = imageLoader(images, { size: 4, mean: [0, 0, 0], std: [1, 1, 1], transform, workers });
      const { pixels } = await loader.read([0, 1]);
      found.push([...pixels.subarray(0, 12)].map((value) => Math.round(255 * value)));
      await loader.read([0]);
      expect(loader.clipped).toEqual([images.nameOf(0)]);
      await loader.close();
    }
  }
  expect(found).toEqual(Array(4).fill(gray(CLIPPED)));
});
