// A data set to a file of ids and back: the golden text, threads, the cache under damage, kills and races, and refusals.

import { describe, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { openSafetensors } from "../../hub/safetensors/index.ts";
import { rowsOf } from "../../workbench/data/dataset/rows.ts";
import {
  openTextTokens,
  openTokenFile,
  openTokenizer,
  type TextTokensOptions,
  type TokenFile,
  type TokeniseEvent,
  tokenWindows,
  wordsAndBytes,
} from "../../workbench/data/index.ts";
import { batched } from "../../workbench/data/tokenise/batch.ts";
import { tokenise } from "../../workbench/data/tokenise/tokenise.ts";
import { readTokenizerFiles } from "../../workbench/data/tokenizer/definition.ts";
import { openEncoder } from "../../workbench/data/tokenizer/encoder.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { GOLDEN, GPT2, HUB_IS_HERE, WIKITEXT, writeTinyTokenizer } from "./hub-folders.ts";

const folder = temporaryFolder();
let made = 0;

/** A data set of one text file, a tokenizer and a cache that is not there yet. */
function setUp(text: string, name = "train.txt"): TextTokensOptions {
  const at = folder(`set-${made++}`);
  mkdirSync(join(at, "data"), { recursive: true });
  writeFileSync(join(at, "data", name), text);
  return {
    dataset: join(at, "data"),
    split: "train",
    tokenizer: writeTinyTokenizer(join(at, "tokenizer")),
    cache: join(at, "cache/tokens"),
  };
}

async function tokensOf(
  options: TextTokensOptions,
): Promise<{ tokens: TokenFile; cached: boolean; events: TokeniseEvent[] }> {
  const events: TokeniseEvent[] = [];
  for await (const event of openTextTokens(options)) events.push(event);
  const last = events.at(-1);
  if (last?.kind !== "tokens") throw new Error("the last event is not the tokens");
  return { ...last, events };
}

/** Arguments of this runtime that tokenise in a process of their own and print the number of ids, or the error. */
function commandFor(options: TextTokensOptions): string[] {
  const index = fileURLToPath(new URL("../../workbench/data/index.ts", import.meta.url));
  const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
  const script = join(options.dataset, "../tokenise.ts");
  const settings = JSON.stringify({ ...options, workers: 1 });
  writeFileSync(
    script,
    `import { openTextTokens } from ${JSON.stringify(index)};
    try {
      for await (const event of openTextTokens(${settings})) if (event.kind === "tokens") console.log(event.tokens.length);
    } catch (error) {
      console.log(error.name, error.message);
    }`,
  );
  return process.versions.deno ? ["run", "-A", "--config", config, script] : [script];
}

async function refusal(options: TextTokensOptions): Promise<string> {
  const error = await tokensOf(options).then(
    () => new Error("not refused"),
    (thrown: Error) => thrown,
  );
  expect(error.message).not.toContain("\n");
  expect(error.name).toBe("DataError");
  return error.message;
}

const TEXT = Array.from(
  { length: 3000 },
  (_, i) => `the ${i} and then, é\u0301 👩‍👩‍👧 ${"a".repeat(i % 70)}${i % 9 ? "\n" : "\r\n"}`,
).join("");

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
    const windows = tokenWindows(tokens, { context: golden.context });
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
    const counts = await wordsAndBytes(tokenWindows(tokens, { context: 1024 }), await openTokenizer(GPT2));
    expect(counts.words).toBeLessThan(241211);
    expect(counts.words).toBeGreaterThan(241211 - 1025);
  });
});

describe("ids", () => {
  test("are those of each row by itself, in order, and survive the disk", async () => {
    const options = setUp(TEXT);
    const { tokens, cached, events } = await tokensOf(options);
    const tokenizer = await openTokenizer(options.tokenizer);
    const expected = TEXT.split(/(?<=\n)/).flatMap((row) => [...tokenizer.encode(row)]);
    expect([...(await tokens.read(0, tokens.length))]).toEqual(expected);
    expect([...(await tokens.read(100, 7))]).toEqual(expected.slice(100, 107));
    expect(tokens.counts).toEqual({
      rows: 3000,
      words: TEXT.match(/\S+/g)?.length ?? 0,
      bytes: new TextEncoder().encode(TEXT).length,
    });
    expect([cached, tokens.vocabSize]).toEqual([false, 278]);
    const progress = events.filter((event) => event.kind === "tokenising").at(-1);
    expect(progress).toMatchObject({ fraction: 1, rows: 3000, tokens: expected.length, workers: 0 });
    await expect(tokens.read(expected.length, 1)).rejects.toThrow(RangeError);
    await expect(tokens.read(-1, 1)).rejects.toThrow(RangeError);
  });

  test("are the same whatever the number of threads, and however rows fall into batches", async () => {
    const { tokenizer } = setUp("");
    const encoder = openEncoder(tokenizer, await readTokenizerFiles(tokenizer));
    const rows = TEXT.split(/(?<=\n)/);
    const run = async (workers: number, batchUnits: number, module?: URL) => {
      async function* source() {
        yield { texts: rows, fraction: 1 };
      }
      const ids: number[] = [];
      const counts = { rows: 0, words: 0, bytes: 0, most: 0 };
      const options = { encoder, tokenizer, workers, ...(module ? { module } : {}) };
      for await (const part of tokenise(batched(source(), batchUnits), options)) {
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
    const options = setUp("the and <|long|> the\n");
    writeTinyTokenizer(options.tokenizer, { added_tokens: [{ id: 70000, content: "<|long|>", special: true }] });
    const { tokens } = await tokensOf(options);
    expect([...(await tokens.read(0, tokens.length))]).toContain(70000);
    expect(tokens.vocabSize).toBe(70001);
  });

  test("of a text without rows are none", async () => {
    const { tokens } = await tokensOf(setUp(""));
    expect([tokens.length, (await tokens.read(0, 0)).length]).toEqual([0, 0]);
    expect(tokenWindows(tokens, { context: 8 }).length).toBe(0);
  });
});

describe("the cache", () => {
  test("is used again, by position as by map, until anything that ids depend on changes", async () => {
    const options = setUp("the and\n");
    const first = await tokensOf(options);
    const again = await tokensOf(options);
    expect([first.cached, again.cached, again.tokens.path]).toEqual([false, true, first.tokens.path]);
    expect(again.events.map(({ kind }) => kind)).toEqual(["data", "tokens"]);
    const byPosition = await openTokenFile(first.tokens.path, { map: false });
    expect(await byPosition.read(0, first.tokens.length)).toEqual(await again.tokens.read(0, first.tokens.length));
    await byPosition.close();
    writeFileSync(join(options.dataset, "train.txt"), "the end\n");
    expect((await tokensOf(options)).cached).toBe(false);
    writeTinyTokenizer(options.tokenizer, { pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } });
    expect((await tokensOf(options)).cached).toBe(false);
    expect((await tokensOf({ ...options, column: "other" })).cached).toBe(false);
    expect((await tokensOf(options)).cached).toBe(true);
  });

  test("knows a snapshot's file by its blob", async () => {
    const options = setUp("the and\n");
    const blobs = folder("repository/blobs");
    const snapshot = folder("repository/snapshots/0123/data");
    mkdirSync(blobs, { recursive: true });
    mkdirSync(snapshot, { recursive: true });
    writeFileSync(join(blobs, "a".repeat(64)), "the and\n");
    symlinkSync(join("../../../blobs", "a".repeat(64)), join(snapshot, "train.txt"));
    const dataset = folder("repository/snapshots/0123");
    expect((await tokensOf({ ...options, dataset })).cached).toBe(false);
    writeFileSync(join(blobs, "b".repeat(64)), "the end\n");
    symlinkSync(join("../../../blobs", "b".repeat(64)), join(snapshot, "validation.txt"));
    expect((await tokensOf({ ...options, dataset, split: "validation" })).cached).toBe(false);
    expect((await tokensOf({ ...options, dataset })).cached).toBe(true);
  });

  test("is made again when it was cut off or changed, at any byte", async () => {
    const options = setUp("the and the end of it\n");
    const { tokens } = await tokensOf(options);
    const { path } = tokens;
    const whole = readFileSync(path);
    const ids = await tokens.read(0, tokens.length);
    for (let length = 0; length < whole.length; length += 7) {
      writeFileSync(path, whole);
      truncateSync(path, length);
      await expect(openTokenFile(path)).rejects.toThrow("is no file of token ids, or a damaged one");
    }
    const made = await tokensOf(options);
    expect([made.cached, await made.tokens.read(0, ids.length)]).toEqual([false, ids]);
    for (const at of [0, 3, 2 * ids.length - 1, whole.length - 1, whole.length - 10]) {
      const damaged = Uint8Array.from(whole);
      damaged[at] = (damaged[at] as number) ^ 0x10;
      writeFileSync(path, damaged);
      expect((await tokensOf(options)).cached).toBe(false);
    }
    expect(readFileSync(path)).toEqual(whole);
  });

  test("has nothing half-written in it after an abort or an early stop", async () => {
    const options = setUp(TEXT.repeat(20));
    const stopped = new AbortController();
    const run = async () => {
      for await (const { kind } of openTextTokens({ ...options, signal: stopped.signal })) {
        if (kind === "tokenising") stopped.abort(new Error("enough"));
      }
    };
    await expect(run()).rejects.toThrow("enough");
    for await (const { kind } of openTextTokens({ ...options, workers: 2 })) if (kind === "tokenising") break;
    expect(readdirSync(options.cache)).toEqual([]);
  });

  test("may be filled by several processes at once, some of them killed", async () => {
    const options = setUp(TEXT.repeat(30));
    const command = commandFor(options);
    const start = (killAfter?: number) =>
      new Promise<string>((resolve) => {
        const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "inherit"] });
        let printed = "";
        child.stdout.on("data", (chunk) => {
          printed += chunk;
        });
        child.on("close", () => resolve(printed.trim()));
        if (killAfter !== undefined) setTimeout(() => child.kill("SIGKILL"), killAfter);
      });
    const lengths = await Promise.all([start(), start(), start(150), start(300), start(450)]);
    const { tokens, cached } = await tokensOf(options);
    expect([cached, lengths[0], lengths[1]]).toEqual([true, String(tokens.length), String(tokens.length)]);
    const names = readdirSync(options.cache).filter((name) => !name.startsWith("."));
    expect(names.length).toBe(1);
  }, 60_000);

  test("is cleared of what killed processes left, and of nothing that is being written", async () => {
    const options = setUp("the\n");
    const { tokens } = await tokensOf(options);
    const name = tokens.path.slice(options.cache.length + 1);
    const [old, young] = [`.${name}.0a.tmp`, `.${name}.0b.tmp`];
    for (const file of [old, young]) writeFileSync(join(options.cache, file), "ids");
    const longAgo = new Date(Date.now() - 7_200_000);
    utimesSync(join(options.cache, old), longAgo, longAgo);
    truncateSync(tokens.path, 3);
    await tokensOf(options);
    expect(readdirSync(options.cache).sort()).toEqual([young, name]);
  });

  test.skipIf(process.platform !== "linux")("that runs out of room is refused in one line, and nothing is left", () => {
    const options = setUp(TEXT.repeat(3));
    // A limit on the size of files, in units of 1024 bytes, stands for a full disk.
    const command = [process.execPath, ...commandFor(options)].map((word) => `'${word}'`).join(" ");
    const run = spawnSync("bash", ["-c", `trap '' XFSZ; ulimit -f 64; exec ${command}`], { encoding: "utf8" });
    expect(run.stdout).toMatch(/^DataError .*\.tokens: cannot be written: .*(EFBIG|too large).*\n$/);
    expect(readdirSync(options.cache)).toEqual([]);
  });

  test("that cannot be written is refused in one line", async () => {
    const options = setUp("the\n");
    writeFileSync(`${options.dataset}/../file`, "");
    expect(await refusal({ ...options, cache: join(options.dataset, "../file/cache") })).toMatch(
      /: cannot be written: part of its path is a file$/,
    );
    if (process.getuid?.() === 0) return;
    mkdirSync(options.cache, { recursive: true });
    chmodSync(options.cache, 0o500);
    expect(await refusal(options)).toMatch(/: cannot be written: permission denied$/);
  });
});

test("what there is not is refused in one line", async () => {
  const options = setUp('{"body":"a"}\n', "train.jsonl");
  expect(await refusal({ ...options, dataset: folder("nowhere") })).toBe(
    `${folder("nowhere")}: no such folder; a data set is a folder here, pull it first`,
  );
  expect(await refusal({ ...options, split: "test" })).toBe(
    `${options.dataset}: has no split "test" in configuration "default"; there is train`,
  );
  expect(await refusal({ ...options, config: "en" })).toBe(
    `${options.dataset}: has no configuration "en"; there is default`,
  );
  expect(await refusal(options)).toMatch(/train\.jsonl: line 1 has no column "text"; there is body$/);
  expect(await refusal({ ...options, tokenizer: folder("none") })).toMatch(/none: has no tokenizer\.json; /);
  expect(readdirSync(options.cache)).toEqual([]);
});
