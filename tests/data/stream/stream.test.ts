// Streams of windows from parquet files: every row once a pass in one lane, in an order that depends on the seed alone, and
// the same rows after going on from a state.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { HubError } from "../../../hub/access/hub-error.ts";
import {
  firstPass,
  holdOutLast,
  openTokenizer,
  openTokenStream,
  type StreamFile,
  type TokenStream,
} from "../../../workbench/data/index.ts";
import { Lane } from "../../../workbench/data/stream/lane.ts";
import { textWindows } from "../../../workbench/data/stream/text-windows.ts";
import type { Tokenizer } from "../../../workbench/data/types.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { parquetFile } from "../write-parquet.ts";
import { refusalOf } from "./refusal.ts";
import { byteTokenizer, CONTEXT, filesAt, rowText, writeRows } from "./rows.ts";

const at = temporaryFolder();
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await openTokenizer(byteTokenizer(at("tokenizer")));
});

const counted = { open: 0, bytes: 0 };
const pathsIn = (folder: string) =>
  readdirSync(join(folder, "data"))
    .sort()
    .map((name) => join(folder, "data", name));

function writeAt(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

interface Ways {
  lanes?: number;
  seed?: number;
  shuffled?: number;
  workers?: number;
}

const open = (folder: string, { lanes = 1, seed = 5, shuffled = 4, workers = 0 }: Ways = {}): Promise<TokenStream> => {
  const files = filesAt(pathsIn(folder), counted).map((file) => ({ file }));
  return openTokenStream({ files, lanes, seed, shuffled, workers, context: CONTEXT, tokenizer: at("tokenizer") });
};

/** The text of the inputs of each window: a row. */
const textsOf = (windows: readonly Int32Array[]): string[] =>
  windows.map((window) => tokenizer.decode(window.subarray(0, CONTEXT)));

/** How often each row is among texts. */
const timesOf = (texts: readonly string[], rows: number): number[] =>
  Array.from({ length: rows }, (_, i) => texts.filter((text) => text === rowText(i)).length);

async function taken(stream: TokenStream, count: number, index = 0): Promise<string[]> {
  return textsOf(await stream.reader().take(count, { step: 0, index }));
}

describe("a stream of windows", () => {
  test.each([
    ["whole files of several row groups", [[5, 3], [4], [6, 2, 1], [7], [3], [2], [4], [5]], 1],
    [
      "row groups of a few files",
      [
        [5, 3, 9],
        [4, 11],
      ],
      4,
    ],
    ["one row group", [[12]], 1],
  ])("has each row once a pass: %s", async (title, sizes, lanes) => {
    const rows = writeRows(at(title), sizes as number[][]);
    const stream = await open(at(title), { lanes: lanes as number });
    const reader = stream.reader();
    // One window at a time, until a lane is as often at its end as it takes.
    const passes: string[][] = [[], [], []];
    for (let index = 0; index < stream.lanes; index++) {
      for (let step = 0; ; step++) {
        const { pass } = reader.statesAt(step)[index] ?? { pass: 0 };
        const [text] = textsOf(await reader.take(1, { step, index }));
        if (pass > 2) break;
        passes[reader.statesAt(step + 1)[index]?.pass as number]?.push(text as string);
      }
    }
    // The last row of a pass has its target, the next id, in the next pass.
    const [first = [], second = [], third = []] = passes;
    expect([first.length, second.length, third.length]).toEqual([rows - stream.lanes, rows, rows]);
    for (const [done, texts] of [first, [...first, ...second], [...first, ...second, ...third]].entries()) {
      const times = timesOf(texts, rows);
      expect(times.every((count) => count === done || count === done + 1)).toBe(true);
    }
    expect(second).not.toEqual(third);
    await stream.close();
    expect(counted.open).toBe(0);
  });

  test("has the ids of neighbors as targets: no token is lost between windows, rows, files and passes", async () => {
    const rows = writeRows(at("targets"), [[3, 2], [4]]);
    const stream = await open(at("targets"), { shuffled: 1 });
    const windows = await stream.reader().take(3 * rows, { step: 0, index: 0 });
    for (const window of windows) {
      expect(window.length).toBe(CONTEXT + 1);
      expect(tokenizer.decode(window.subarray(CONTEXT))).toBe("<");
    }
    await stream.close();
  });

  test("has the same order for a seed, whatever the number of threads, and another for another seed", async () => {
    writeRows(at("seeds"), [
      [30, 20],
      [25, 40],
    ]);
    const texts: string[][] = [];
    for (const ways of [{}, { workers: 2 }, { seed: 6 }]) {
      const stream = await open(at("seeds"), ways);
      texts.push(await taken(stream, 200));
      await stream.close();
    }
    expect(texts[1]).toEqual(texts[0] as string[]);
    expect(texts[2]).not.toEqual(texts[0] as string[]);
  });

  test("goes on from a state of any step with what a stream left alone has, also in other lanes' processes", async () => {
    writeRows(at("resumed"), [[9, 4], [13, 5, 6], [8]]);
    const how = fc.record({
      lanes: fc.integer({ min: 1, max: 4 }),
      shuffled: fc.integer({ min: 1, max: 12 }),
      each: fc.integer({ min: 1, max: 5 }),
      until: fc.integer({ min: 1, max: 12 }),
      ahead: fc.boolean(),
      seed: fc.nat(100),
    });
    const property = fc.asyncProperty(how, async ({ lanes, shuffled, each, until, ahead, seed }) => {
      const stream = await open(at("resumed"), { lanes, shuffled, seed });
      const whole = stream.reader();
      const expected: string[][] = [];
      for (let step = 0; step < until + 4; step++)
        for (let index = 0; index < lanes; index++) expected.push(textsOf(await whole.take(each, { step, index })));
      const first = stream.reader();
      for (let step = 0; step < until + (ahead ? 1 : 0); step++)
        for (let index = 0; index < lanes; index++) await first.take(each, { step, index });
      const states = JSON.parse(JSON.stringify(first.statesAt(until)));
      // Each lane in a process of its own.
      const found: string[][] = [];
      const readers = Array.from({ length: lanes }, () => stream.reader());
      for (const reader of readers) reader.resume(states);
      for (let step = until; step < until + 4; step++)
        for (const [index, reader] of readers.entries()) found.push(textsOf(await reader.take(each, { step, index })));
      expect(found).toEqual(expected.slice(until * lanes));
      await stream.close();
      expect(counted.open).toBe(0);
    });
    await fc.assert(property, { numRuns: 40, seed: 3 });
  });

  test("gives steps that are asked for at once what they have one after the other, and knows where each begins", async () => {
    writeRows(at("at once"), [[9, 4], [13]]);
    const stream = await open(at("at once"));
    const [waiting, ahead] = [stream.reader(), stream.reader()];
    const expected: string[][] = [];
    for (let step = 0; step < 8; step++) expected.push(textsOf(await waiting.take(3, { step, index: 0 })));
    const asked = expected.map((_, step) => ahead.take(3, { step, index: 0 }));
    expect((await Promise.all(asked.slice(0, 2))).map(textsOf)).toEqual(expected.slice(0, 2));
    expect((await Promise.all(asked)).map(textsOf)).toEqual(expected);
    // As a run does: the step after the next one is asked for before the next one is there.
    const reader = stream.reader();
    let next = reader.take(3, { step: 0, index: 0 });
    for (let step = 1; step < 8; step++) {
      const present = next;
      next = reader.take(3, { step, index: 0 });
      await present;
      const other = stream.reader();
      other.resume(reader.statesAt(step));
      expect(textsOf(await other.take(3, { step, index: 0 }))).toEqual(expected[step] as string[]);
    }
    await next;
    await stream.close();
    expect(counted.open).toBe(0);
  });

  test("ends the reading of a block at the signal, and of the one that is next when it is closed", async () => {
    const texts = Array.from({ length: 100 }, () => "x".repeat(2 ** 16));
    writeAt(join(at("long"), "data/train.parquet"), parquetFile([{ text: texts }], "gzip"));
    const [file] = filesAt(pathsIn(at("long")), counted) as [StreamFile];
    const stop = new AbortController();
    let encoded = 0;
    let after = Number.POSITIVE_INFINITY;
    // A block has 32 texts.
    const encode = async (rows: readonly string[]) => {
      encoded += rows.length;
      if (encoded > after) stop.abort(new Error("Ctrl-C"));
      return new Int32Array(10 * rows.length);
    };
    const shares = [{ file }];
    const format = textWindows({ context: 10, column: "text", encode });
    const how = { shares, seed: 5, shuffled: 31, format, signal: stop.signal };
    const closed = new Lane(how);
    await closed.take(1);
    await closed.close();
    expect(encoded).toBeGreaterThanOrEqual(32);
    expect(encoded).toBeLessThan(40);
    after = encoded + 5;
    const ended = new Lane(how);
    await expect(ended.take(1)).rejects.toThrow("Ctrl-C");
    expect(encoded).toBe(after + 1);
    await ended.close();
    expect(counted.open).toBe(0);
  });

  test.each([1, 2])("passes over row groups without rows, in %p lanes", async (lanes) => {
    const groups = [[0, 1], [], [2, 3], [], []].map((rows) => ({ text: rows.map(rowText) }));
    writeAt(join(at("without rows"), "data/train.parquet"), parquetFile(groups));
    const stream = await open(at("without rows"), { shuffled: 1, lanes });
    const each = 12 / lanes;
    const found = await Promise.all(Array.from({ length: lanes }, (_, index) => taken(stream, each, index)));
    expect(timesOf(found.flat(), 4)).toEqual([3, 3, 3, 3]);
    const { held, rest } = await holdOutLast(filesAt(pathsIn(at("without rows")), counted));
    expect(held.groups).toEqual([2]);
    expect(rest.map((share) => share.groups)).toEqual([[0]]);
    await stream.close();
  });

  test("reads only the row groups that it needs", async () => {
    // The end of a file, in which its sizes are, is read in one piece of an eighth of a megabyte.
    const values = [1, 2, 3, 4].map(() => ({ text: Array.from({ length: 2000 }, () => "x".repeat(500)) }));
    writeAt(join(at("lazy"), "data/train.parquet"), parquetFile(values));
    const size = filesAt(pathsIn(at("lazy")), counted)[0]?.size as number;
    counted.bytes = 0;
    const stream = await open(at("lazy"), { shuffled: 10 });
    await taken(stream, 5);
    await stream.close();
    expect(counted.bytes).toBeGreaterThan(0);
    expect(counted.bytes).toBeLessThan(0.7 * size);
  });

  test.each([
    [
      "of several row groups",
      [
        [5, 3],
        [4, 6],
      ],
      6,
    ],
    ["of one row group, a file of its own", [[5, 3], [4]], 4],
    ["of many files", [[5], [3], [4], [6], [2], [5], [4], [3], [4, 2]], 2],
  ])("has none of the rows that are held out: the last ones %s", async (title, sizes, last) => {
    const folder = at(`held ${title}`);
    const rows = writeRows(folder, sizes);
    const { held, rest } = await holdOutLast(filesAt(pathsIn(folder), counted));
    const shared = { context: CONTEXT, seed: 1, tokenizer: at("tokenizer"), workers: 0, lanes: 1 };
    const training = await openTokenStream({ ...shared, files: rest });
    const evaluation = await openTokenStream({ ...shared, files: [held], shuffled: 1 });
    const trained = timesOf(await taken(training, 3 * rows), rows);
    expect(trained.map((times) => times > 0)).toEqual(Array.from({ length: rows }, (_, i) => i < rows - last));
    // The last row has no target after it.
    const found = textsOf(await firstPass(evaluation, 100));
    expect(found.toSorted()).toEqual(Array.from({ length: last - 1 }, (_, i) => rowText(rows - last + i)));
    // Fewer windows are the first ones of the same.
    expect(textsOf(await firstPass(evaluation, 1))).toEqual(found.slice(0, 1));
    for (const stream of [training, evaluation]) await stream.close();
    expect(counted.open).toBe(0);
  });

  test("skips null rows", async () => {
    const rows = [null, rowText(1), null, null, rowText(2), rowText(3), null];
    writeAt(join(at("nulls"), "data/train.parquet"), parquetFile([{ text: rows }]));
    const stream = await open(at("nulls"));
    expect(new Set(await taken(stream, 9))).toEqual(new Set([1, 2, 3].map(rowText)));
    await stream.close();
  });
});

describe("a stream is refused in one line", () => {
  const refusal = async (make: () => Promise<unknown>): Promise<string> => {
    const message = await refusalOf(make);
    expect(counted.open).toBe(0);
    return message;
  };

  test("for fewer row groups than lanes", async () => {
    writeRows(at("few"), [[3], [3]]);
    expect(await refusal(() => open(at("few"), { lanes: 3 }))).toMatch(
      /the 2 row groups of the split are fewer than the 3 micro-batches of a step/,
    );
  });

  test("for one row group alone, of which one is held out", async () => {
    writeRows(at("single"), [[9]]);
    expect(await refusal(() => holdOutLast(filesAt(pathsIn(at("single")), counted)))).toMatch(/has one row group only/);
  });

  test("for a server that fails, which is not a damaged file", async () => {
    writeRows(at("failing"), [[30, 20]]);
    let fails = false;
    const files = filesAt(pathsIn(at("failing")), counted).map((file) => ({
      file: {
        ...file,
        open: async () => {
          const source = await file.open();
          const read: typeof source.read = async (...place) => {
            if (fails) throw new HubError("unreachable", "hub.test cannot be reached; try again");
            return source.read(...place);
          };
          return { ...source, read };
        },
      },
    }));
    const how = { files, lanes: 1, seed: 5, shuffled: 4, workers: 0, context: CONTEXT, tokenizer: at("tokenizer") };
    const stream = await openTokenStream(how);
    fails = true;
    expect(await refusal(() => taken(stream, 1).finally(() => stream.close()))).toMatch(
      /00000-of-00001\.parquet: cannot be read: hub\.test cannot be reached; try again$/,
    );
  });

  test("for other files than parquet", async () => {
    writeAt(join(at("plain"), "data/train.txt"), "text");
    expect(await refusal(() => open(at("plain")))).toMatch(/train\.txt: cannot be streamed: only parquet files/);
  });

  test("for a file that is damaged, a column that is missing, and rows without text", async () => {
    writeAt(join(at("damaged"), "data/train.parquet"), "PAR1 and no more");
    expect(await refusal(() => open(at("damaged")))).toMatch(/train\.parquet: is not a parquet file, or is damaged/);
    const takenFrom = async (name: string, column: string, values: (string | null)[]) => {
      writeAt(join(at(name), "data/train.parquet"), parquetFile([{ [column]: values }]));
      const stream = await open(at(name));
      await taken(stream, 1).finally(() => stream.close());
    };
    expect(await refusal(() => takenFrom("column", "story", ["a"]))).toMatch(
      /has no column "text"; available: "?story/,
    );
    expect(await refusal(() => takenFrom("empty", "text", ["", null]))).toMatch(/has no text to stream/);
  });
});
