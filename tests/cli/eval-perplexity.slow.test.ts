// `gblr eval ppl` as a user runs it, on a small GPT-2 and texts made here: what of a text is scored, and in which encoding
// it is read.

import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addEval } from "../../workbench/cli/eval.ts";
import { openTokenizer } from "../../workbench/data/index.ts";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { tinyModel } from "../compress/tiny.ts";
import { writeTinyTokenizer } from "../data/hub-folders.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { runOffline, runVerb } from "./in-process.ts";

const at = temporaryFolder();
runOffline(at("cache"));

beforeAll(async () => {
  await openEngine({ engine: "cpu" });
  // 24 positions
  await saveModelNow(tinyModel(3, { vocab_size: 300 }), at("model"));
  writeTinyTokenizer(at("model"));
});

/** A data set of one file. */
function dataset(name: string, content: string | Uint8Array, file = "test.txt"): string {
  mkdirSync(at(name));
  writeFileSync(join(at(name), file), content);
  return at(name);
}

const score = (data: string, ...args: string[]) =>
  runVerb(addEval, ["eval", "ppl", at("model"), "--dataset", data, "--engine", "cpu", ...args]);

async function scored(data: string, ...args: string[]) {
  const { code, stdout, stderr } = await score(data, "--json", ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

const countOf = async (text: string): Promise<number> => (await openTokenizer(at("model"))).encode(text).length;

test("a text shorter than a window, and the end of a longer one, are scored", async () => {
  for (const text of ["and then", "the other and the one ".repeat(9)]) {
    const count = await countOf(text);
    const result = await scored(dataset(`text of ${count}`, text));
    expect(result).toMatchObject({ tokens: count - 1, windows: Math.ceil((count - 1) / 24), leftOut: 0 });
  }
});

test("--whole-windows scores as published tables do, and says what it leaves out", async () => {
  const text = "the other and the one ".repeat(9);
  const [data, count] = [dataset("whole", text), await countOf(text)];
  const windows = Math.floor((count - 1) / 24);
  const leftOut = count - 1 - windows * 24;
  expect(leftOut).toBeGreaterThan(0);
  const result = await scored(data, "--whole-windows");
  expect(result).toMatchObject({ tokens: windows * 24, windows, leftOut });
  const { stdout } = await score(data, "--whole-windows");
  expect(stdout).toMatch(new RegExp(`left out +${leftOut} +tokens at the end`));
  expect((await score(data)).stdout).not.toContain("left out");
  expect(await score(dataset("short", "and then"), "--whole-windows")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /^gblr: the text has \d tokens, which is less than one whole window of 24; score shorter windows too/,
    ),
  });
});

test("text that is not UTF-8 is one line, and reads by --encoding", async () => {
  const latin = dataset("latin", Uint8Array.of(0x61, 0xe9, 0x62, 0x0a));
  expect(await score(latin)).toMatchObject({
    code: 1,
    stderr: `gblr: ${latin}/test.txt: is not UTF-8 at byte 1 (0xe9); convert it, or give its encoding, e.g. --encoding windows-1252\n`,
  });
  expect((await scored(latin, "--encoding", "windows-1252")).tokens).toBe((await countOf("aéb\n")) - 1);
  const utf16 = dataset("utf16", Buffer.from("\ufeffhello\n", "utf16le"));
  expect(await score(utf16)).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^gblr: .*test\.txt: is not UTF-8: .*UTF-16LE; .*, --encoding utf-16le\n$/),
  });
  expect((await scored(utf16, "--encoding", "utf-16le")).tokens).toBe((await countOf("hello\n")) - 1);
});

test("the same bytes in another encoding are other tokens, also in the cache", async () => {
  const data = dataset("both", new TextEncoder().encode("é\n"));
  const [utf8, latin] = [await scored(data), await scored(data, "--encoding", "windows-1252")];
  expect([utf8.tokens, latin.tokens]).toEqual([(await countOf("é\n")) - 1, (await countOf("Ã©\n")) - 1]);
});
