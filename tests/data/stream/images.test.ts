// Streams of images from parquet files: every image once a pass, in an order that depends on the seed alone, the same ones
// after going on from a state, and by ranges over a network.

import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { filesOfCommit } from "../../../hub/pull/repo-files.ts";
import {
  type ImageShardsOptions,
  type ImageStream,
  openImageShards,
  shardClasses,
} from "../../../workbench/data/images/index.ts";
import { holdOutLast } from "../../../workbench/data/index.ts";
import { lanesOf } from "../../../workbench/pipeline/domains/streamed-files.ts";
import { COMMIT, hostileHub } from "../../hub/hostile-server.ts";
import { pullAll } from "../../hub/pull/pulling.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { parquetFile } from "../write-parquet.ts";
import { shardsAt, writeImages } from "./images.ts";
import { refusalOf } from "./refusal.ts";

const at = temporaryFolder();
const counted = { open: 0, bytes: 0 };

/** The bytes of image `row`, which nothing decodes here. */
const bytesOf = (row: number, length = 10): Uint8Array =>
  Uint8Array.from({ length: length + (row % 7) }, (_, i) => (row + i) % 256);
const write = (name: string, sizes: number[][]) => writeImages(at(name), sizes, bytesOf);

interface Ways extends Partial<ImageShardsOptions> {
  lanes?: number;
  last?: number;
  seed?: number;
  shuffled?: number;
}

async function open(
  name: string,
  { lanes = 1, last, seed = 5, shuffled = 4, ...options }: Ways = {},
): Promise<ImageStream> {
  const shards = await openImageShards(shardsAt(at(name), counted, options));
  return shards.stream({ lanes, last, seed, shuffled });
}

/** The numbers of the next images of a lane, whose bytes and names are theirs. */
async function taken(reader: ReturnType<ImageStream["reader"]>, count: number, place: { step: number; index: number }) {
  const images = await reader.take(count, place);
  for (const { bytes, label, name } of images) {
    expect(bytes).toEqual(Uint8Array.from(bytesOf(label)));
    expect(name).toMatch(/data\/train-\d+\.parquet, row \d+$/);
  }
  return images.map(({ label }) => label);
}

async function first(name: string, count: number, ways: Ways = {}): Promise<number[]> {
  const stream = await open(name, ways);
  const found = await taken(stream.reader(), count, { step: 0, index: 0 });
  await stream.close();
  expect(counted.open).toBe(0);
  return found;
}

const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("a stream of images", () => {
  test.each([
    ["whole files of several row groups", [[5, 3], [4], [6, 2, 1], [7], [3], [2], [4], [5]], 1],
    [
      "row groups of a few files",
      [
        [5, 3, 9],
        [4, 0, 11],
      ],
      4,
    ],
    ["one row group", [[12]], 1],
  ])("has each image once a pass: %s", async (name, sizes, lanes) => {
    const rows = await write(name as string, sizes as number[][]);
    const stream = await open(name as string, { lanes: lanes as number });
    expect(stream.length).toBe(rows);
    const reader = stream.reader();
    const passes: number[][] = [[], [], []];
    for (let index = 0; index < stream.lanes; index++) {
      for (let step = 0; ; step++) {
        const [image] = await taken(reader, 1, { step, index });
        const { pass } = reader.statesAt(step + 1)[index] ?? { pass: 0 };
        if (pass > 2) break;
        passes[pass]?.push(image as number);
      }
    }
    for (const pass of passes) expect(sorted(pass)).toEqual(upTo(rows));
    expect(passes[1]).not.toEqual(passes[2] as number[]);
    await stream.close();
    expect(counted.open).toBe(0);
  });

  test.each([
    ["row groups", [Array(20).fill(6)]],
    ["whole files", Array(30).fill([4])],
  ])("has each image once an epoch if the last micro-batch of a step is smaller: %s", async (name, sizes) => {
    const rows = await write(`uneven ${name}`, sizes);
    const { lanes, last } = lanesOf({ batch: 10, microBatch: 4 });
    expect([lanes, last]).toEqual([3, 0.5]);
    const stream = await open(`uneven ${name}`, { lanes, last });
    const reader = stream.reader();
    const images: number[] = [];
    for (let step = 0; step < rows / 10; step++) {
      for (const [index, count] of [4, 4, 2].entries()) images.push(...(await taken(reader, count, { step, index })));
    }
    expect(sorted(images)).toEqual(upTo(rows));
    await stream.close();
  });

  test("has the same order for a seed, another for another one, and shuffles no farther than it may", async () => {
    const rows = await write("seeds", [
      [30, 20],
      [25, 40],
    ]);
    const order = await first("seeds", rows);
    expect(await first("seeds", rows)).toEqual(order);
    expect(await first("seeds", rows, { seed: 6 })).not.toEqual(order);
    // Without shuffling within a block the rows of a group follow each other; with it, those of a block.
    const plain = await first("seeds", rows, { shuffled: 1 });
    expect(plain.filter((row, i) => i > 0 && row !== (plain[i - 1] as number) + 1).length).toBeLessThan(4);
    expect(order).not.toEqual(plain);
    for (let i = 0; i < rows; i += 4) expect(sorted(order.slice(i, i + 4))).toEqual(sorted(plain.slice(i, i + 4)));
  });

  test("goes on from a state of any step with what a stream left alone has, whichever process reads a lane", async () => {
    await write("resumed", [[9, 4], [13, 5, 6], [8]]);
    const how = fc.record({
      lanes: fc.integer({ min: 1, max: 4 }),
      shuffled: fc.integer({ min: 1, max: 12 }),
      each: fc.integer({ min: 1, max: 5 }),
      until: fc.integer({ min: 1, max: 12 }),
      before: fc.integer({ min: 1, max: 3 }),
      after: fc.integer({ min: 1, max: 3 }),
      seed: fc.nat(100),
    });
    const property = fc.asyncProperty(how, async ({ lanes, shuffled, each, until, before, after, seed }) => {
      const stream = await open("resumed", { lanes, shuffled, seed });
      const readers = (count: number) => Array.from({ length: count }, () => stream.reader());
      /** What so many processes read in these steps, lane by lane. */
      const read = async (processes: ReturnType<ImageStream["reader"]>[], from: number, to: number) => {
        const found: number[][] = [];
        for (let step = from; step < to; step++) {
          for (let index = 0; index < lanes; index++) {
            const reader = processes[index % processes.length] as (typeof processes)[0];
            found.push(await taken(reader, each, { step, index }));
          }
        }
        return found;
      };
      const expected = await read(readers(1), 0, until + 4);
      const killed = readers(before);
      expect(await read(killed, 0, until)).toEqual(expected.slice(0, until * lanes));
      const states = JSON.parse(JSON.stringify(Object.assign({}, ...killed.map((reader) => reader.statesAt(until)))));
      const resumed = readers(after);
      for (const reader of resumed) reader.resume(states);
      expect(await read(resumed, until, until + 4)).toEqual(expected.slice(until * lanes));
      await stream.close();
      expect(counted.open).toBe(0);
    });
    await fc.assert(property, { numRuns: 40, seed: 3 });
  });

  test("has sets of its first images, which are the same each time and none twice", async () => {
    const rows = await write("first", [[9, 4], [13]]);
    const shards = await openImageShards(shardsAt(at("first"), counted));
    const numbersOf = async (count: number, seed: number) => {
      const set = await shards.first({ count, seed });
      const numbers = Array.from({ length: set.length }, (_, i) => set.label(i));
      expect(numbers.map((_, i) => set.place(i))).toEqual(numbers.map((row) => ({ bytes: bytesOf(row) }) as never));
      return numbers;
    };
    const some = await numbersOf(6, 1);
    expect([new Set(some).size, await numbersOf(6, 1)]).toEqual([6, some]);
    expect(await numbersOf(6, 2)).not.toEqual(some);
    expect(sorted(await numbersOf(1000, 1))).toEqual(upTo(rows));
    expect(counted.open).toBe(0);
  });

  test("holds out the last row group that has rows", async () => {
    const rows = await write("held", [[4, 4], [1]]);
    const none = { image: [{ bytes: bytesOf(1), path: null }], label: [1n] };
    writeFileSync(at("held", "data/train-1.parquet"), parquetFile([none], { claimed: [0] }));
    const { files, ...options } = shardsAt(at("held"), counted);
    const { held, rest } = await holdOutLast(files.map(({ file }) => file));
    const shards = await openImageShards({ ...options, files: rest });
    const [trained, evaluated] = [await shards.first({ count: 100, seed: 1 }), await shards.firstOf([held], 100)];
    expect(upTo(evaluated.length).map((i) => evaluated.label(i))).toEqual([4, 5, 6, 7]);
    expect(sorted(upTo(trained.length).map((i) => trained.label(i)))).toEqual([0, 1, 2, 3]);
    expect([rows, shards.length, counted.open]).toEqual([9, 4, 0]);
  });

  test("comes from a Hub by ranges, of which each lane asks for its own row groups only", async () => {
    const rows = 40;
    const large = (row: number) => bytesOf(row, 20_000);
    await writeImages(at("hub"), [Array(10).fill(4)], large);
    const bytes = readFileSync(at("hub", "data/train-0.parquet"));
    const hub = await hostileHub({ "README.md": new TextEncoder().encode("Images."), "data/train-0.parquet": bytes });
    try {
      const repo = { type: "dataset", id: "x/y", revision: COMMIT } as const;
      const access = { endpoint: hub.url, cache: at("cache") };
      await pullAll(access, { include: ["README.md"] }, repo);
      const all = await filesOfCommit({ repo, commit: COMMIT }, access);
      const files = (all ?? []).filter(({ path }) => path.endsWith(".parquet"));
      const shares = files.map((file) => ({ file: { ...file, name: file.path } }));
      const shards = await openImageShards({ ...shardsAt(at("hub"), counted), files: shares });
      expect(shards.length).toBe(rows);
      const stream = await shards.stream({ lanes: 5, seed: 5, shuffled: 4 });
      hub.asked.length = 0;
      hub.sent = 0;
      const reader = stream.reader();
      const images = await reader.take(8, { step: 0, index: 2 });
      for (const { bytes: found, label } of images) expect(found).toEqual(Uint8Array.from(large(label)));
      await stream.close();
      expect(hub.asked.length).toBeGreaterThan(1);
      for (const { path, headers } of hub.asked) {
        expect(path).toContain("data/train-0.parquet");
        expect(headers.range).toMatch(/^bytes=\d+-\d+$/);
      }
      // Two of ten row groups, one of them once more for the block that is next, and the end of the file.
      expect(hub.sent).toBeLessThan(0.7 * bytes.length);
      const local = await open("hub", { lanes: 5 });
      expect(await local.reader().take(8, { step: 0, index: 2 })).toMatchObject(images.map(({ label }) => ({ label })));
      await local.close();
    } finally {
      await hub.close();
    }
  });
});

const README = (names: readonly string[]) =>
  `---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names: [${names.join(", ")}]\n---\n`;

describe("classes of a stream", () => {
  const image = (count: number) => upTo(count).map((row) => ({ bytes: bytesOf(row), path: null }));
  const writeLabels = (name: string, label: string[] | bigint[]) => {
    mkdirSync(at(name, "data"), { recursive: true });
    writeFileSync(at(name, "data/train-0.parquet"), parquetFile([{ image: image(label.length), label }]));
  };
  const labelsOf = async (name: string, options: Partial<ImageShardsOptions>) => {
    const shards = await openImageShards(shardsAt(at(name), counted, options));
    const set = await shards.first({ count: 100, seed: 1 });
    return Object.fromEntries(upTo(set.length).map((i) => [Number(set.nameOf(i).split(" ").at(-1)), set.label(i)]));
  };

  test("are numbers, of which the README declares the names, and have the model's numbers of the same names", async () => {
    writeLabels("numbers", [0n, 2n, 1n]);
    const readme = README(["cat", "dog", "eel"]);
    expect(await labelsOf("numbers", { readme })).toEqual({ 0: 0, 1: 2, 2: 1 });
    expect((await shardClasses(shardsAt(at("numbers"), counted, { readme }))).classes).toEqual(["cat", "dog", "eel"]);
    expect(await labelsOf("numbers", { readme, labels: ["eel", "dog", "cat"] })).toEqual({ 0: 2, 1: 0, 2: 1 });
    expect(await labelsOf("numbers", { readme, labels: ["ant", "dog", "cat"] })).toEqual({ 0: 0, 1: 2, 2: 1 });
    expect(await labelsOf("numbers", { head: 3 })).toEqual({ 0: 0, 1: 2, 2: 1 });
  });

  test("are names that the README or the model lists", async () => {
    writeLabels("names", ["dog", "cat", "dog"]);
    expect(await labelsOf("names", { readme: README(["dog", "cat"]) })).toEqual({ 0: 0, 1: 1, 2: 0 });
    expect(await labelsOf("names", { readme: README(["dog", "cat"]), classOrder: "text" })).toEqual({
      0: 1,
      1: 0,
      2: 1,
    });
    expect(await labelsOf("names", { labels: ["bee", "cat", "dog"] })).toEqual({ 0: 2, 1: 1, 2: 2 });
  });

  test.each([
    ["names", { labels: ["bee", "dog"] }, /row 1: has label "cat", which is none of the 2 classes: bee, dog$/],
    ["names", {}, /names: declares no classes, .* known only when all are read; leave out --stream$/],
    ["numbers", { head: 2 }, /row 1: has label 2, which is none of the 2 classes: 0, 1$/],
    ["numbers", { classOrder: "text" }, /its labels are numbers, which cannot be reordered; leave out --class-order$/],
  ])("of %s are refused with %p", async (name, options, message) => {
    await expect(labelsOf(name, options as Partial<ImageShardsOptions>)).rejects.toThrow(message);
    expect(counted.open).toBe(0);
  });

  test("that a new head needs are refused if only their numbers are known", async () => {
    const { head: _, ...options } = shardsAt(at("numbers"), counted);
    await expect(shardClasses(options)).rejects.toThrow(/declares no classes, .* their number is known only when/);
  });
});

describe("a stream of images is refused in one line", () => {
  const refusal = async (make: () => Promise<unknown>): Promise<string> => {
    const message = await refusalOf(make);
    expect(counted.open).toBe(0);
    return message;
  };

  test("for a shard that is cut short, before anything is read of others", async () => {
    await write("cut", [[5], [6], [7]]);
    truncateSync(at("cut", "data/train-1.parquet"), 200);
    expect(await refusal(() => open("cut"))).toMatch(/train-1\.parquet: is not a parquet file, or is damaged/);
  });

  test("for a shard that changes while it is read", async () => {
    await write("changed", [[5], [60]]);
    const stream = await open("changed", { shuffled: 2 });
    const reader = stream.reader();
    await reader.take(1, { step: 0, index: 0 });
    for (const name of readdirSync(at("changed", "data"))) truncateSync(join(at("changed", "data"), name), 100);
    const rest = async () => {
      for (let step = 1; step < 40; step++) await reader.take(5, { step, index: 0 });
    };
    expect(await refusal(() => rest().finally(() => stream.close()))).toMatch(/train-[01]\.parquet: .*damaged|ends at/);
  });

  test("for a shard without the columns of the first one, and for a data set without rows", async () => {
    await write("columns", [[5], [6]]);
    const values = [{ picture: [{ bytes: bytesOf(1), path: null }], label: [1n] }];
    writeFileSync(at("columns", "data/train-1.parquet"), parquetFile(values));
    expect(await refusal(() => open("columns"))).toMatch(/train-1\.parquet: has no column "image"; available: /);
    mkdirSync(at("nothing", "data"), { recursive: true });
    const none = { image: [{ bytes: bytesOf(1), path: null }], label: [1n] };
    writeFileSync(at("nothing", "data/train-0.parquet"), parquetFile([none]));
    const { files, ...options } = shardsAt(at("nothing"), counted);
    const empty = files.map(({ file }) => ({ file, groups: [] }));
    const message = await refusal(() => openImageShards({ ...options, files: empty }));
    expect(message).toMatch(/nothing: has no images in split "train": it has no rows$/);
  });

  test("for a shard that claims an impossible number of rows", async () => {
    const rows = (count: number) => ({
      image: upTo(count).map((row) => ({ bytes: bytesOf(row), path: null })),
      label: upTo(count).map(BigInt),
    });
    const writeClaims = async (claimed: number[]) => {
      await write("claims", [[5], [6]]);
      writeFileSync(at("claims", "data/train-1.parquet"), parquetFile([rows(5), rows(4)], { claimed }));
    };
    await writeClaims([5, -4]);
    expect(await refusal(() => open("claims"))).toMatch(/train-1\.parquet: is damaged: row group 1 has -4 rows/);
    await writeClaims([5, 2 ** 60]);
    expect(await refusal(() => open("claims"))).toMatch(/train-1\.parquet: is damaged: row group 1 has 1152921504606/);
    await writeClaims([5, 1e9]);
    const stream = await open("claims");
    expect(stream.length).toBe(1e9 + 10);
    const read = async () => void (await stream.reader().take(12, { step: 0, index: 0 }));
    expect(await refusal(() => read().finally(() => stream.close()))).toMatch(
      /train-1\.parquet: is damaged: rows 5 to /,
    );
  });

  test("for a shard whose labels are of another kind, or of other classes, than those of the first one", async () => {
    const declaring = (label: bigint[] | string[], names?: string[]) =>
      parquetFile([{ image: label.map((_, row) => ({ bytes: bytesOf(row), path: null })), label }], {
        ...(names && { entries: { huggingface: JSON.stringify({ info: { features: { label: { names } } } }) } }),
      });
    const both = async (first: Uint8Array, second: Uint8Array, options: Ways = {}) => {
      mkdirSync(at("kinds", "data"), { recursive: true });
      writeFileSync(at("kinds", "data/train-0.parquet"), first);
      writeFileSync(at("kinds", "data/train-1.parquet"), second);
      const stream = await open("kinds", options);
      await stream.close();
      return stream.classes;
    };
    const [numbers, names] = [declaring([0n, 1n]), declaring(["cat", "dog"])];
    expect(await refusal(() => both(numbers, names))).toMatch(
      /train-1\.parquet: has names in column "label", and .*train-0\.parquet has numbers; /,
    );
    expect(await refusal(() => both(names, numbers, { labels: ["cat", "dog"] }))).toMatch(
      /train-1\.parquet: has numbers in column "label", and .*train-0\.parquet has names; /,
    );
    const [cats, dogs] = [declaring([0n, 1n], ["cat", "dog"]), declaring([0n, 1n], ["dog", "cat"])];
    expect(await refusal(() => both(cats, dogs))).toMatch(
      /train-1\.parquet: declares other classes than .*train-0\.parquet; .* in the README$/,
    );
    expect(await both(cats, numbers)).toEqual(["cat", "dog"]);
    expect(await both(cats, dogs, { readme: README(["ant", "bee"]) })).toEqual(["ant", "bee"]);
  });

  test("for files that are not parquet", async () => {
    await write("few", [[3], [3]]);
    const { files: _, ...options } = shardsAt(at("few"), counted);
    const rows = { name: "data/train.jsonl", size: 9, open: () => Promise.reject(new Error("was opened")) };
    expect(await refusal(() => openImageShards({ ...options, files: [{ file: rows }] }))).toMatch(
      /^data\/train\.jsonl: cannot be streamed: only parquet files can be read in parts; leave out --stream$/,
    );
  });

  test("for fewer row groups than lanes", async () => {
    await write("few", [[3], [3]]);
    expect(await refusal(() => open("few", { lanes: 3 }))).toMatch(
      /the 2 row groups .* fewer than the 3 micro-batches/,
    );
  });
});
