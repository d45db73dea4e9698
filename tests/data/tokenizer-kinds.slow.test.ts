// Tokenizers of every kind, made with PyPI's tokenizers, and GPT-2's own, against PyPI's tokenizers: ids, ids with special
// tokens, and the texts decoded from them, with and without special tokens. $GBLR_TEST_MEGABYTES is the size of the longest
// text for each of the large families: 20 take some minutes, and as many again for each character.

import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { crc32 } from "node:zlib";
import { openTokenizer } from "../../workbench/data/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { pythonWith, runPython } from "../python/python.ts";
import { GPT2_TOKENIZER } from "./hub-folders.ts";
import { CHATS, madeTexts, wikipedia } from "./tokenizer-texts.ts";

const python = pythonWith("tokenizers", "sentencepiece");
const at = temporaryFolder();
const PATIENCE = 1_200_000;
const MEGABYTES = Number(process.env.GBLR_TEST_MEGABYTES ?? 2);
const SCRIPT = join(import.meta.dirname, "tokenizer_kinds.py");

const folderOf = (kind: string) => at("kinds", kind);

/** GPT-2's own tokenizer where it is at hand, else one that splits text in the same way. */
const GPT2 = existsSync(GPT2_TOKENIZER) ? GPT2_TOKENIZER : folderOf("gpt2");

/** The families whose splitting is written by hand, and Llama 2's. */
const LARGE = ["llama3", "qwen2", "smollm2", "llama2"];

/** Kinds that between them have each family, each normalizer, and all classes of characters that split text. */
const EACH_CHARACTER = [
  ...["llama2", "llama3", "qwen2", "smollm2", "gpt4o", "deepseek", "xlm-roberta", "albert", "bert", "clip"],
  ...["precompiled", "precompiled nfkc_cf", "normalizer NFC", "normalizer NFD", "normalizer NFKC", "normalizer NFKD"],
  ...["normalizer Lowercase", "normalizer Strip", "normalizer StripAccents", "normalizer Nmt"],
  ...["normalizer BertNormalizer", "cut Whitespace", "cut Digits", "cut Punctuation Removed"],
  "cut Split Removed inverted",
];

/** After and before a letter, a space, a digit, a line end and itself. */
const AROUND = "a#b #1# ##\n#";

let kinds: string[] = [];

beforeAll(async () => {
  if (!python) return;
  const train = [...(await wikipedia()).filter((text) => text.length > 100).slice(0, 600), ...madeTexts(3e5, 1)];
  const { status, stdout, stderr } = await runPython(python, SCRIPT, {
    args: ["make", at("kinds")],
    input: JSON.stringify(train),
  });
  if (status !== 0) throw new Error(stderr);
  kinds = JSON.parse(stdout);
}, PATIENCE);

/** Four sums for each text. */
async function theirSums(folder: string, texts: readonly string[]): Promise<Uint32Array> {
  const { status, stderr } = await runPython(python, SCRIPT, {
    args: ["sums", join(folder, "tokenizer.json"), at("sums")],
    input: JSON.stringify(texts),
  });
  if (status !== 0) throw new Error(stderr);
  return new Uint32Array(new Uint8Array(readFileSync(at("sums"))).buffer);
}

/** Texts for which ids or decoded texts differ, with what differs. */
async function differing(folder: string, texts: readonly string[]): Promise<string[]> {
  const tokenizer = await openTokenizer(folder);
  const theirs = await theirSums(folder, texts);
  expect(theirs.length).toBe(4 * texts.length);
  const names = ["ids", "ids with special tokens", "decoded", "decoded without special tokens"];
  return texts.flatMap((text, i) => {
    const special = tokenizer.encode(text, { specialTokens: true });
    const ours = [
      ...[tokenizer.encode(text), special].map((ids) =>
        crc32(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength)),
      ),
      ...[false, true].map((skipSpecialTokens) => crc32(tokenizer.decode(special, { skipSpecialTokens }))),
    ];
    return names.filter((_, k) => ours[k] !== theirs[4 * i + k]).map((name) => `${name}: ${JSON.stringify(text)}`);
  });
}

/** Ranges of code points whose characters are all of one kind: Han, Hangul syllables, and what is private or not assigned. */
const UNIFORM: readonly (readonly [number, number])[] = [
  [0x3400, 0xa000],
  [0xac00, 0xd7a4],
  [0xe000, 0xf900],
  [0x17000, 0x1b000],
  [0x20000, 0x2f800],
  [0x2fa20, 0xe0000],
  [0xe0200, 0x110000],
];

/** All code points, of uniform ranges each 61st (each of the first four planes with the texts of 20 MB), in texts of 50. */
function everyCharacter(): string[] {
  const texts: string[] = [];
  let text = "";
  let count = 0;
  const all = MEGABYTES >= 20 ? 0x40000 : 0;
  const isUniform = (point: number) => point >= all && UNIFORM.some(([from, end]) => point >= from && point < end - 61);
  for (let point = 0; point < 0x110000; point += isUniform(point) ? 61 : 1) {
    if (point >= 0xd800 && point < 0xe000) continue;
    text += AROUND.replaceAll("#", () => String.fromCodePoint(point));
    if (++count % 50 > 0) continue;
    texts.push(text);
    text = "";
  }
  return [...texts, text];
}

/** Expects that no text differs in any of the tokenizers, and shows three that do. */
async function expectEqual(folders: readonly string[], texts: readonly string[]): Promise<void> {
  for (const folder of folders) {
    expect({ folder, differing: (await differing(folder, texts)).slice(0, 3) }).toEqual({ folder, differing: [] });
  }
}

describe.skipIf(!python)("ids and decoded texts are those of PyPI's tokenizers", () => {
  test(
    `for ${MEGABYTES} MB of text in the families of Llama, Qwen, SmolLM and GPT-2`,
    async () => {
      const size = 1e6 * MEGABYTES;
      const real = await wikipedia();
      const share = real.slice(0, Math.ceil((real.length * Math.min(MEGABYTES, 20)) / 20));
      const texts = [...CHATS, ...share, ...madeTexts(0.95 * size, 7)];
      await expectEqual([GPT2, ...LARGE.map(folderOf)], texts);
    },
    PATIENCE,
  );

  test(
    "for text in many scripts, in tokenizers of every kind",
    async () => {
      const texts = [...CHATS, ...(await wikipedia()).slice(0, 200), ...madeTexts(3e5, 8), "", " ", "  a"];
      expect(kinds.length).toBeGreaterThan(70);
      await expectEqual(kinds.map(folderOf), texts);
    },
    PATIENCE,
  );

  test("for every character", () => expectEqual([GPT2, ...EACH_CHARACTER.map(folderOf)], everyCharacter()), PATIENCE);
});
