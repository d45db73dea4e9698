// Our tokenizer against PyPI's tokenizers, id for id: every code point of Unicode in every neighborhood that moves the
// borders of pieces, and 20 MB of text in many scripts.

import { beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { writeTokenizer } from "../../recipes/quickstart/repositories.ts";
import { parquetRows } from "../../workbench/data/dataset/rows.ts";
import { openTokenizer } from "../../workbench/data/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { pythonWith, runPython } from "../python/python.ts";
import { GPT2_TOKENIZER, WIKITEXT } from "./hub-folders.ts";

const python = pythonWith("tokenizers");
const at = temporaryFolder();
const PATIENCE = 600_000;

/** After and before a letter, a space, a digit and itself. */
const AROUND = "a#b #1# ##\n#";
const POINTS = Array.from({ length: 0x110000 }, (_, point) => point).filter(
  (point) => point < 0xd800 || point >= 0xe000,
);

async function theirSums(folder: string, texts: readonly string[] | { codePoints: string }): Promise<Uint32Array> {
  const args = [join(folder, "tokenizer.json"), at("sums")];
  const { status, stderr } = await runPython(python, join(import.meta.dirname, "tokenizers_ids.py"), {
    args,
    input: JSON.stringify(texts),
  });
  if (status !== 0) throw new Error(stderr);
  return new Uint32Array(new Uint8Array(readFileSync(at("sums"))).buffer);
}

const sumOf = (ids: Int32Array) => crc32(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));

/** Letters, marks, digits and signs of as many scripts, with the white space of each kind. */
const SCRIPTS: [first: number, last: number][] = [
  [0x20, 0x7e],
  [0x20, 0x7e],
  [0xa0, 0x24f],
  [0x370, 0x3ff],
  [0x400, 0x52f],
  [0x531, 0x58a],
  [0x591, 0x5f4],
  [0x600, 0x6ff],
  [0x900, 0x97f],
  [0xe01, 0xe5b],
  [0x10a0, 0x10ff],
  [0x1100, 0x11ff],
  [0x1e00, 0x1fff],
  [0x2000, 0x214f],
  [0x2190, 0x23ff],
  [0x3000, 0x30ff],
  [0x4e00, 0x9fff],
  [0xac00, 0xd7a3],
  [0x1d400, 0x1d7ff],
  [0x1f300, 0x1faff],
];
const GAPS = [
  " ",
  " ",
  " ",
  " ",
  "  ",
  "\n",
  "\n\n",
  "\t",
  ", ",
  ". ",
  "'s ",
  " 're ",
  " 42 ",
  "\u00a0",
  "\u3000",
  "\u2028",
  "\r\n",
];

/** Texts of words of one script each, `bytes` of UTF-8 in all; they follow from the seed. */
function madeTexts(bytes: number, seed: number): string[] {
  let state = seed;
  const pick = (count: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
  const texts: string[] = [];
  for (let made = 0; made < bytes; ) {
    const words = Array.from({ length: 400 }, () => {
      const [first, last] = SCRIPTS[pick(SCRIPTS.length)] as [number, number];
      const letters = Array.from({ length: 1 + pick(9) }, () => first + pick(last - first + 1));
      return String.fromCodePoint(...letters) + (GAPS[pick(GAPS.length)] as string);
    });
    const text = words.join("");
    made += Buffer.byteLength(text);
    texts.push(text);
  }
  return texts;
}

async function realTexts(): Promise<string[]> {
  const file = join(WIKITEXT, "wikitext-mini-v1/test-00000-of-00001.parquet");
  const found: string[] = [];
  if (existsSync(file)) for await (const { texts } of parquetRows(file, "text")) found.push(...texts);
  return found;
}

/** GPT-2's where it is at hand, else one that splits text in the same way. */
let folder = GPT2_TOKENIZER;

beforeAll(async () => {
  if (existsSync(GPT2_TOKENIZER)) return;
  folder = at("small");
  await writeTokenizer(folder, ["the", " the", " and", "\u0433\u043e\u0434"]);
});

test.skipIf(!python)(
  "ids are those of tokenizers at every code point",
  async () => {
    const tokenizer = await openTokenizer(folder);
    const theirs = await theirSums(folder, { codePoints: AROUND });
    expect(theirs.length).toBe(POINTS.length);
    const differing = POINTS.filter((point, i) => {
      const text = AROUND.replaceAll("#", String.fromCodePoint(point));
      return sumOf(tokenizer.encode(text)) !== theirs[i];
    });
    expect(differing.map((point) => `U+${point.toString(16).padStart(4, "0").toUpperCase()}`)).toEqual([]);
  },
  PATIENCE,
);

test.skipIf(!python)(
  "ids are those of tokenizers for 20 MB of text",
  async () => {
    const tokenizer = await openTokenizer(folder);
    const real = await realTexts();
    const size = real.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const texts = [...real, ...madeTexts(Math.max(0, 20e6 - size), 7)];
    const theirs = await theirSums(folder, texts);
    const differing = texts.filter((text, i) => sumOf(tokenizer.encode(text)) !== theirs[i]);
    expect(differing.length).toBe(0);
  },
  PATIENCE,
);
