// Batches of streamed images: the pixels that an unstreamed loader makes of the same images with the same seed, and the same
// rule for images that cannot be decoded.

import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import {
  type ImageLoaderOptions,
  type ImageStreamLoader,
  imageLoader,
  imageStreamLoader,
  openImageShards,
} from "../../../workbench/data/images/index.ts";
import { subsetOf } from "../../../workbench/data/images/sets/image-set.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { openImagesNow, plainImage } from "../images/image-sets.ts";
import { parquetFile } from "../write-parquet.ts";
import { EDGE, shardsAt, writeImages } from "./images.ts";

const at = temporaryFolder();
const counted = { open: 0, bytes: 0 };
const closings: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closings) await close();
  expect(counted.open).toBe(0);
});

const COLORS = { mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4] } as const;
const TRAINING: ImageLoaderOptions = {
  ...{ size: EDGE, ...COLORS, workers: 0 },
  transform: { kind: "train", randAugment: {}, erasing: { probability: 0.5 } },
};

async function loaderOf(name: string, options: Partial<ImageLoaderOptions> = {}): Promise<ImageStreamLoader> {
  const shards = await openImageShards(shardsAt(at(name), counted));
  const stream = await shards.stream({ lanes: 1, seed: 5, shuffled: 4 });
  const loader = imageStreamLoader(stream, { ...TRAINING, ...options });
  closings.push(
    () => stream.close(),
    () => loader.close(),
  );
  return loader;
}

const place = { step: 0, index: 0, seed: 7 };

test("have the images, labels and random crops of a loader of the images in the order of the stream", async () => {
  const rows = await writeImages(at("pictures"), [[9, 4], [8]]);
  const loader = await loaderOf("pictures", { workers: 2 });
  expect([loader.images.length, loader.size]).toEqual([rows, EDGE]);
  const reader = loader.reader();
  const all = await openImagesNow({ dataset: at("pictures"), split: "train", cache: at("cache") });
  for (const [step, seed] of [3, 4, 4].entries()) {
    const items = [10, 11, 12, 13, 14];
    const batch = await reader.read(items, { step, index: 0, seed });
    expect(batch.items).toEqual(items);
    // At the places of these items, the images that came.
    const ordered = subsetOf(all, [...Array(10).fill(0), ...batch.labels]);
    const plain = imageLoader(ordered, TRAINING);
    const expected = await plain.read(items, { seed });
    await plain.close();
    expect(batch.pixels).toEqual(expected.pixels);
    expect([...batch.labels]).toEqual([...expected.labels]);
  }
});

describe("of images that cannot be decoded", () => {
  const write = async (name: string, broken: readonly number[]) => {
    await writeImages(at(name), [[1]]);
    const pictures = await Promise.all([...Array(8).keys()].map((i) => plainImage(i, { width: EDGE, height: EDGE })));
    const image = pictures.map((bytes, i) => ({ bytes: broken.includes(i) ? null : bytes, path: null }));
    const label = image.map((_, i) => BigInt(i));
    const [file] = readdirSync(at(name, "data"));
    writeFileSync(at(name, "data", file as string), parquetFile([{ image, label }]));
  };

  test("are refused with file and row, or without them with --skip-bad, which counts each once", async () => {
    await write("bad", [3, 6]);
    const loader = await loaderOf("bad");
    const message = /bad\/data\/train-0\.parquet, row [36]: is empty, 0 bytes; .*--skip-bad$/;
    await expect(loader.reader().read([0, 1, 2, 3, 4, 5, 6, 7], place)).rejects.toThrow(message);
    const skipping = await loaderOf("bad", { skipBad: true });
    const reader = skipping.reader();
    for (const step of [0, 1]) {
      const batch = await reader.read([0, 1, 2, 3, 4, 5, 6, 7], { ...place, step });
      expect([...batch.labels].sort()).toEqual([0, 1, 2, 4, 5, 7]);
      expect(batch.pixels.length).toBe(6 * EDGE * EDGE * 3);
    }
    expect(skipping.skipped.map(({ name }) => name.slice(-5)).sort()).toEqual(["row 3", "row 6"]);
  });

  test("are refused also with --skip-bad if there is no other", async () => {
    await write("worse", [0, 1, 2, 3, 4, 5, 6, 7]);
    const loader = await loaderOf("worse", { skipBad: true });
    await expect(loader.reader().read([0, 1], place)).rejects.toThrow(/none of the 2 images of its batch can be used$/);
  });
});
