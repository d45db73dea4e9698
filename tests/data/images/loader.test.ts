// Batches of images: the same pixels from any number of threads, other ones from another seed, and what is done with
// images that cannot be decoded.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { evaluationView } from "../../../workbench/data/images/crop.ts";
import { decodeImage } from "../../../workbench/data/images/decode.ts";
import {
  type ImageBatch,
  type ImageLoaderOptions,
  type ImageSet,
  imageLoader,
} from "../../../workbench/data/images/index.ts";
import { parquetFile } from "../write-parquet.ts";
import { bytesOf, openImagesNow, plainImage, write } from "./image-sets.ts";

const root = mkdtempSync(join(tmpdir(), "gblr-loader-"));
afterAll(() => rmSync(root, { recursive: true }));

const COLORS = { mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4] } as const;
const PLAIN: ImageLoaderOptions = { size: 16, transform: "evaluate", ...COLORS, workers: 0 };
const TRAINING: ImageLoaderOptions = {
  ...PLAIN,
  transform: { kind: "train", randAugment: {}, erasing: { probability: 0.5 } },
};

async function setOf(name: string, images: (Uint8Array | null)[]): Promise<ImageSet> {
  const rows = images.map((bytes, i) => ({ bytes, path: `${i}.png` }));
  const label = images.map((_, i) => BigInt(i % 3));
  const dataset = write(join(root, name), { "train.parquet": parquetFile([{ image: rows, label }]) });
  return openImagesNow({ dataset, split: "train", cache: join(root, "cache") });
}

let good: ImageSet;
let bad: ImageSet;
beforeAll(async () => {
  const pictures = await Promise.all([...Array(21).keys()].map((i) => plainImage(i, { width: 20 + i, height: 30 })));
  good = await setOf("good", pictures);
  const [first = new Uint8Array(), second = new Uint8Array(), third = new Uint8Array()] = pictures;
  bad = await setOf("bad", [
    first,
    second.slice(0, second.length / 2),
    third,
    null,
    new TextEncoder().encode("no image"),
  ]);
});

async function using<Result>(
  images: ImageSet,
  options: ImageLoaderOptions,
  use: (loader: ReturnType<typeof imageLoader>) => Promise<Result>,
): Promise<Result> {
  const loader = imageLoader(images, options);
  try {
    return await use(loader);
  } finally {
    await loader.close();
  }
}

describe("a batch", () => {
  test("holds images in the order asked for, normalized, red green blue", async () => {
    const items = [5, 0, 20];
    const batch = await using(good, PLAIN, (loader) => loader.read(items));
    expect([batch.items, [...batch.labels], batch.size]).toEqual([items, [2, 0, 2], 16]);
    const expected: number[] = [];
    for (const item of items) {
      const { data } = evaluationView(await decodeImage(await bytesOf(good, item)), { size: 16 });
      data.forEach((value, i) => {
        expected.push((value / 255 - (COLORS.mean[i % 3] as number)) / (COLORS.std[i % 3] as number));
      });
    }
    expect(batch.pixels.length).toBe(expected.length);
    const most = batch.pixels.reduce(
      (sofar, value, i) => Math.max(sofar, Math.abs(value - (expected[i] as number))),
      0,
    );
    expect(most).toBeLessThan(1e-6);
  });

  test("of a seed has the same pixels with no thread, one and three; another seed has others", async () => {
    const items = [...Array(21).keys()];
    const made = (workers: number, seed: number) =>
      using(good, { ...TRAINING, workers }, async (loader) => {
        expect(loader.workers).toBe(workers);
        return (await loader.read(items, { seed })).pixels;
      });
    const alone = await made(0, 7);
    expect(alone.every(Number.isFinite)).toBe(true);
    expect(await made(1, 7)).toEqual(alone);
    expect(await made(3, 7)).toEqual(alone);
    expect(await made(0, 8)).not.toEqual(alone);
    // An image depends on the seed and on itself, not on its place or on its neighbors.
    const reversed = await using(good, TRAINING, (loader) => loader.read([...items].reverse(), { seed: 7 }));
    expect(reversed.pixels.slice(-16 * 16 * 3)).toEqual(alone.slice(0, 16 * 16 * 3));
  });

  test("for training without a crop sees what evaluation sees, then mirrored or augmented as asked", async () => {
    const items = [...Array(21).keys()];
    const view = { kind: "evaluate", cropShare: 0.8, interpolation: "bilinear" } as const;
    const pixelsOf = (transform: ImageLoaderOptions["transform"]) =>
      using(good, { ...PLAIN, transform }, async (loader) => (await loader.read(items, { seed: 3 })).pixels);
    const seen = await pixelsOf(view);
    expect(await pixelsOf({ kind: "train", crop: view, flip: 0 })).toEqual(seen);
    const mirrored = await pixelsOf({ kind: "train", crop: view, flip: 1 });
    const row = 16 * 3;
    expect([...mirrored.subarray(row - 3, row)]).toEqual([...seen.subarray(0, 3)]);
    expect(await pixelsOf({ kind: "train", crop: view, flip: 0, autoAugment: "cifar10" })).not.toEqual(seen);
  });

  test("of small images is decoded once for all threads, and is the same ever after", async () => {
    const pictures = await Promise.all(
      [...Array(21).keys()].map((i) => plainImage(i, { width: 16, height: i === 20 ? 17 : 16 })),
    );
    const small = await setOf("small", pictures);
    const items = [...Array(20).keys()];
    const options: ImageLoaderOptions = { ...PLAIN, transform: { kind: "train", autoAugment: "cifar10" }, workers: 2 };
    await using(small, options, async (loader) => {
      const read = async (some: number[], seed: number) => (await loader.read(some, { seed })).pixels;
      const [first, other] = [await read(items, 1), await read(items, 2)];
      rmSync((small.place(0) as { file: string }).file);
      expect(await read(items, 1)).toEqual(first);
      expect(await read(items, 2)).toEqual(other);
      expect(await read([...items].reverse(), 1)).not.toEqual(first);
      // Of another height than what is asked for: it was not kept.
      const problem = await read([20], 1).catch((error: Error) => error.message);
      expect(problem).toContain("cannot be opened");
    });
  });

  test("is made while the thread that asked for it computes", async () => {
    await using(good, { ...PLAIN, workers: 1 }, async (loader) => {
      await loader.read([0]);
      let answered = false;
      const batch = loader.read([...Array(21).keys()]).then((found) => {
        answered = true;
        return found;
      });
      const end = performance.now() + 400;
      while (performance.now() < end);
      expect(answered).toBe(false);
      // All that is left is to take the answers.
      const start = performance.now();
      expect((await batch).items.length).toBe(21);
      expect(performance.now() - start).toBeLessThan(200);
    });
  });

  test("of all images in their order ends with a smaller one", async () => {
    const sizes = async (options: { batch: number; limit?: number }) =>
      using(good, { ...PLAIN, workers: 2 }, async (loader) => {
        const batches: ImageBatch[] = [];
        for await (const batch of loader.batches(options)) batches.push(batch);
        expect(batches.flatMap(({ items }) => items)).toEqual([...Array(options.limit ?? 21).keys()]);
        return batches.map(({ items }) => items.length);
      });
    expect(await sizes({ batch: 8 })).toEqual([8, 8, 5]);
    expect(await sizes({ batch: 50, limit: 9 })).toEqual([9]);
    await using(good, PLAIN, async (loader) => {
      const signal = AbortSignal.abort(new Error("enough"));
      await expect(loader.batches({ batch: 2, signal }).next()).rejects.toThrow("enough");
    });
  });
});

describe("an image that cannot be decoded", () => {
  test("is an error that names the file, the row and what is wrong", async () => {
    for (const workers of [0, 1]) {
      await using(bad, { ...PLAIN, workers }, async (loader) => {
        expect((await loader.read([2, 0])).items.length).toBe(2);
        const refused = (items: number[]) =>
          loader.read(items).then(
            () => "",
            (error: Error) => error.message,
          );
        expect(await refused([0, 1])).toMatch(
          /train\.parquet, row 1: cannot be decoded: .*; repair or remove it, or .*--skip-bad$/,
        );
        expect(await refused([3])).toMatch(/row 3: is empty, 0 bytes; /);
        expect(await refused([4])).toMatch(/row 4: cannot be decoded: it is not JPEG, .* or AVIF; /);
      });
    }
  });

  test("is told in a clause when it is a drawing, has no size, or is a small file of a great many pixels", async () => {
    const problem = (bytes: Uint8Array) =>
      decodeImage(bytes).then(
        () => "",
        (error: Error) => error.message,
      );
    const drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>';
    expect(await problem(new TextEncoder().encode(drawing))).toMatch(/^cannot be decoded: it is SVG, not JPEG, /);
    const sized = async (edge: number) => {
      const header = Uint8Array.from(await plainImage(0));
      const view = new DataView(header.buffer);
      for (const at of [16, 20]) view.setUint32(at, edge);
      view.setUint32(29, crc32(header.subarray(12, 29)));
      return header;
    };
    expect(await problem(await sized(0))).toBe("cannot be decoded: Input buffer has corrupt header");
    expect(await problem(await sized(20_000))).toBe("cannot be decoded: it has more than 268,435,456 pixels");
  });

  test("is left out and counted once where that is asked for", async () => {
    await using(bad, { ...PLAIN, workers: 2, skipBad: true }, async (loader) => {
      const batch = await loader.read([4, 2, 1, 0, 3]);
      expect([batch.items, [...batch.labels], batch.pixels.length]).toEqual([[2, 0], [2, 0], 2 * 16 * 16 * 3]);
      const whole: number[] = [];
      for await (const { items } of loader.batches({ batch: 1 })) whole.push(...items);
      expect(whole).toEqual([0, 2]);
      expect(loader.skipped.map(({ item }) => item).sort()).toEqual([1, 3, 4]);
      expect(loader.skipped.find(({ item }) => item === 3)).toMatchObject({
        problem: "is empty, 0 bytes",
        name: bad.nameOf(3),
      });
      const none = await loader.read([1, 3]).catch((error: Error) => error.message);
      expect(none).toContain("none of the 2 images of its batch can be used");
    });
  });
});

test("a batch for which there is no memory is refused by its size", async () => {
  await using(good, { ...PLAIN, size: 1_000_000 }, async (loader) => {
    const told = "take 12.0 TB, more than the available memory; use smaller batches";
    await expect(loader.read([0])).rejects.toThrow(`1 images of 1000000 × 1000000 at once ${told}`);
  });
});

test("settings that make no sense are refused by name", () => {
  const refused = (changes: Partial<ImageLoaderOptions>) => (message: string) =>
    expect(() => imageLoader(good, { ...PLAIN, ...changes })).toThrow(message);
  refused({ size: 0 })("size must be");
  refused({ workers: 1000 })("workers must be a whole number from 0 to 256, got 1000");
  refused({ std: [0, 1, 1] })("std must be");
  refused({ transform: { kind: "evaluate", cropShare: 1.2 } })("cropShare must be");
  refused({ transform: { kind: "train", randAugment: {}, colorJitter: {} } })(
    "one of randAugment, autoAugment and colorJitter",
  );
  refused({ transform: { kind: "train", crop: { kind: "resized", scale: [0.5, 0.1] } } })("scale must be");
  refused({ transform: { kind: "train", erasing: { probability: 2 } } })("erasing probability must be");
});
