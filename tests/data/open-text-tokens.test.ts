// A data set to a file of ids and back: the golden text, rows, threads, and refusals.

import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openSafetensors } from "../../hub/safetensors/index.ts";
import { rowsOf } from "../../workbench/data/dataset/rows.ts";
import { openTokenizer, tokenWindows, wordsAndBytes } from "../../workbench/data/index.ts";
import { readTokenizerFiles } from "../../workbench/data/tokenizer/definition.ts";
import { openEncoder } from "../../workbench/data/tokenizer/encoder.ts";
import { batched, tokenize } from "../../workbench/data/tokens/tokenize.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { ALPHABET, GOLDEN, GPT2, HUB_IS_HERE, WIKITEXT, writeTinyTokenizer } from "./hub-folders.ts";
import { refusal, setUp, TEXT, tokensOf } from "./text-set.ts";

const folder = temporaryFolder();

describe.skipIf(!HUB_IS_HERE)("WikiText", () => {
  test("has the golden windows once the raw file's blank lines are back", async () => {
    const at = folder("wiki");
    mkdirSync(at);
    // The data set stores the raw file's lines of one space as empty rows.
    const rows: string[] = [];
    for await (const { texts } of rowsOf(join(WIKITEXT, "wikitext-mini-v1/test-00000-of-00001.parquet"), "text"))
      rows.push(...texts);
    writeFileSync(join(at, "wiki.test.txt"), rows.map((row) => row || " \n").join(""));
    const { tokens } = await tokensOf({ dataset: at, split: "test", tokenizer: GPT2, cache: folder("wiki-cache") });
    const golden = JSON.parse(readFileSync(join(GOLDEN, "gpt2-mini.json"), "utf8"));
    const windows = tokenWindows(tokens, { context: golden.context, whole: true });
    expect([windows.length, windows.scored]).toEqual([golden.windows, golden.tokens]);
    const file = await openSafetensors(join(GOLDEN, "gpt2-mini.safetensors"));
    const expected = await file.read("input_ids");
    await file.close();
    expect([...(await windows.read(0))].slice(0, -1)).toEqual(Array.from(expected.data as BigInt64Array, Number));
  });

  test("from its parquet file has as many ids, words and bytes as the plain library and its rows say", async () => {
    const { tokens, events } = await tokensOf({
      dataset: WIKITEXT,
      split: "test",
      tokenizer: GPT2,
      cache: folder("parquet-cache"),
    });
    // 283 287 ids and 241 211 words are what others count on this text.
    expect(tokens.length).toBe(283287);
    expect(tokens.counts).toEqual({ rows: 4358, words: 241211, bytes: 1287656 });
    expect(events[0]).toEqual({
      kind: "data",
      config: "wikitext-mini-v1",
      split: "test",
      files: ["wikitext-mini-v1/test-00000-of-00001.parquet"],
    });
    const tokenizer = await openTokenizer(GPT2);
    const whole = await wordsAndBytes(tokenWindows(tokens, { context: 1024, whole: true }), tokenizer);
    expect(whole.words).toBeLessThan(241211);
    expect(whole.words).toBeGreaterThan(241211 - 1025);
    const all = await wordsAndBytes(tokenWindows(tokens, { context: 1024 }), tokenizer);
    expect(all.bytes).toBe(1287656 - tokenizer.textCounts(await tokens.read(0, 1)).bytes);
  });
});

describe("ids", () => {
  test("are those of each row by itself, in order, and survive the disk", async () => {
    const options = setUp(folder("set-1"), TEXT);
    const { tokens, cached, events } = await tokensOf(options);
    const tokenizer = await openTokenizer(options.tokenizer);
    const expected = TEXT.split(/(?<=\n)/).flatMap((row) => [...tokenizer.encode(row)]);
    expect([...(await tokens.read(0, tokens.length))]).toEqual(expected);
    expect([...(await tokens.read(100, 7))]).toEqual(expected.slice(100, 107));
    expect(tokens.counts).toEqual({
      rows: 3000,
      words: TEXT.match(/\P{White_Space}+/gu)?.length ?? 0,
      bytes: new TextEncoder().encode(TEXT).length,
    });
    expect([cached, tokens.vocabSize]).toEqual([false, 278]);
    const progress = events.filter((event) => event.kind === "tokenizing").at(-1);
    expect(progress).toMatchObject({ fraction: 1, rows: 3000, tokens: expected.length, workers: 0 });
    await expect(tokens.read(expected.length, 1)).rejects.toThrow(RangeError);
    await expect(tokens.read(-1, 1)).rejects.toThrow(RangeError);
  });

  test("are the same whatever the number of threads, and however rows fall into batches", async () => {
    const { tokenizer } = setUp(folder("set-2"), "");
    const encoder = openEncoder(tokenizer, await readTokenizerFiles(tokenizer));
    const rows = TEXT.split(/(?<=\n)/);
    const run = async (workers: number, batchUnits: number, module?: URL) => {
      async function* source() {
        yield { texts: rows, fraction: 1 };
      }
      const ids: number[] = [];
      const counts = { rows: 0, words: 0, bytes: 0, most: 0 };
      const options = { encoder, tokenizer, workers, ...(module ? { module } : {}) };
      for await (const part of tokenize(batched(source(), batchUnits), options)) {
        for (const id of part.ids) ids.push(id);
        counts.rows += part.rows;
        counts.words += part.words;
        counts.bytes += part.bytes;
        counts.most = Math.max(counts.most, part.workers);
      }
      return { ids, ...counts };
    };
    const alone = await run(0, 2 ** 19);
    expect(alone.most).toBe(0);
    const threads = await run(3, 5000);
    expect(threads).toEqual({ ...alone, most: 3 });
    // A module that is not there: the threads die, and this one does their work.
    expect(await run(2, 5000, new URL("./no-such-module.ts", import.meta.url))).toMatchObject({
      ids: alone.ids,
      rows: 3000,
    });
  });

  test("of a vocabulary above 65 536 take four bytes each", async () => {
    const options = setUp(folder("set-3"), "the and <|long|> the\n");
    const vocab = Object.fromEntries([...ALPHABET, "<|long|>"].map((entry, id) => [entry, id < 256 ? id : 70000]));
    writeTinyTokenizer(options.tokenizer, {
      model: { vocab, merges: [] },
      added_tokens: [{ id: 70000, content: "<|long|>", special: true }],
    });
    const { tokens } = await tokensOf(options);
    expect([...(await tokens.read(0, tokens.length))]).toContain(70000);
    expect(tokens.vocabSize).toBe(70001);
  });

  test("of a text without rows are none", async () => {
    const { tokens } = await tokensOf(setUp(folder("set-4"), ""));
    expect([tokens.length, (await tokens.read(0, 0)).length]).toEqual([0, 0]);
    expect(tokenWindows(tokens, { context: 8 }).length).toBe(0);
  });
});

test("what there is not is refused in one line", async () => {
  const options = setUp(folder("set-5"), '{"body":"a"}\n', "train.jsonl");
  expect(await refusal({ ...options, dataset: folder("nowhere") })).toBe(
    `${folder("nowhere")}: no such folder; pull the data set first`,
  );
  expect(await refusal({ ...options, split: "test" })).toBe(
    `${options.dataset}: has no split "test" in configuration "default"; available: train`,
  );
  expect(await refusal({ ...options, config: "en" })).toBe(
    `${options.dataset}: has no configuration "en"; available: default`,
  );
  expect(await refusal(options)).toMatch(/train\.jsonl: line 1 has no column "text"; available: body$/);
  expect(await refusal({ ...options, tokenizer: folder("none") })).toMatch(/none: has no tokenizer\.json; /);
  expect(readdirSync(options.cache)).toEqual([]);
});
