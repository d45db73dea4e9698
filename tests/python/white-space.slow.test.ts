// Where texts are cut, around every code point, against Rust's tokenizers as Python has them.

import { describe, expect, test } from "bun:test";
import { openTokenizer } from "../../workbench/data/index.ts";
import { openPreTokenizer } from "../../workbench/data/tokenizer/pre-tokenizers.ts";
import { ALPHABET, writeTinyTokenizer } from "../data/hub-folders.ts";
import { BYTE_LEVEL, WHITE_SPACE } from "../data/white-space.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "./python.ts";

const folder = temporaryFolder();
const python = pythonWith("tokenizers");

/** Each code point after and before a letter, a digit, a space, two spaces and an apostrophe. */
const AROUND = "aX1X X  Xb X2 X 'X";

describe.skipIf(!python)("texts are cut as by tokenizers in Python", () => {
  /** Code points around which ours cuts elsewhere. */
  async function differing(
    kinds: object[],
    range: { first: number; last: number },
    cuts: ((text: string) => string[])[],
  ) {
    const input = JSON.stringify({ kinds, template: AROUND, ...range });
    const theirs = await askPython<string[][]>(python, "pieces.py", { input });
    const points: number[] = [];
    for (let code = range.first; code <= range.last; code++) if (code < 0xd800 || code > 0xdfff) points.push(code);
    return cuts.map((cut, kind) =>
      points
        .filter((code, i) => {
          const text = AROUND.replaceAll("X", () => String.fromCodePoint(code));
          return spans(text, cut(text)) !== theirs[kind]?.[i];
        })
        .map((code) => String.fromCodePoint(code)),
    );
  }

  function cutOf(part: { type: string }): (text: string) => string[] {
    const { cut } = openPreTokenizer(part);
    return (text) => [...cut(text, true)];
  }

  /** Where the pieces lie in the text, in code points. */
  function spans(text: string, pieces: string[]): string {
    let at = 0;
    return pieces
      .map((piece) => {
        const start = text.indexOf(piece, at);
        at = start + piece.length;
        return `${[...text.slice(0, start)].length}-${[...text.slice(0, at)].length}`;
      })
      .join(" ");
  }

  test.each([0, 4, 8, 12, 16] as const)(
    "GPT-2's pieces are the same around each code point, from plane %d on",
    async (plane) => {
      const cut = cutOf(BYTE_LEVEL);
      const range = { first: plane * 0x10000, last: Math.min(0x10ffff, plane * 0x10000 + 0x3ffff) };
      const [others = []] = await differing([BYTE_LEVEL], range, [cut]);
      expect(others).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "the pieces of pre-tokenizers that cut at white space are the same around each code point below U+10000",
    async () => {
      const kinds = ["WhitespaceSplit", "Whitespace", "BertPreTokenizer"].map((type) => ({ type }));
      const cuts = kinds.map(cutOf);
      const others = await differing(kinds, { first: 0, last: 0xffff }, cuts);
      expect(others).toEqual([[], [], []]);
    },
    PATIENCE,
  );

  test("normalizers strip the same white space", async () => {
    const vocab = Object.fromEntries(ALPHABET.map((character, id) => [character, id]));
    const around = (code: number) => {
      const space = String.fromCodePoint(code);
      return `${space} a${space}b ${space}`;
    };
    const texts = WHITE_SPACE.concat(0xfeff, 0x200b, 0x1c).map(around);
    const sides = [
      [true, true],
      [true, false],
      [false, true],
      [false, false],
    ];
    for (const [strip_left, strip_right] of sides) {
      const strip = { type: "Strip", strip_left, strip_right };
      for (const normalizer of [strip, { type: "Sequence", normalizers: [{ type: "NFC" }, strip] }]) {
        const parts = { normalizer, model: { vocab, merges: [] }, added_tokens: [] };
        const at = writeTinyTokenizer(folder(`normal ${strip_left} ${strip_right}`), parts);
        const tokenizer = await openTokenizer(at);
        const input = JSON.stringify({ tokenizer: `${at}/tokenizer.json`, texts });
        const theirs = await askPython<number[][]>(python, "ids.py", { input });
        expect(texts.map((text) => [...tokenizer.encode(text)])).toEqual(theirs);
      }
    }
  });

  test("added tokens take in the same white space", async () => {
    const token = { special: true, normalized: false, single_word: false };
    const vocab = Object.fromEntries(ALPHABET.map((character, id) => [character, id]));
    const at = writeTinyTokenizer(folder("strip"), {
      model: { vocab, merges: [] },
      added_tokens: [
        { id: 256, content: "<l>", lstrip: true, rstrip: false, ...token },
        { id: 257, content: "<r>", lstrip: false, rstrip: true, ...token },
        { id: 258, content: "<b>", lstrip: true, rstrip: true, ...token },
      ],
    });
    const texts = WHITE_SPACE.concat(0xfeff, 0x200b)
      .map((code) => String.fromCodePoint(code))
      .flatMap((space) => ["<l>", "<r>", "<b>"].map((content) => `a ${space}${content}${space} b${content}${space}`));
    const tokenizer = await openTokenizer(at);
    const theirs = await askPython<number[][]>(python, "ids.py", {
      input: JSON.stringify({ tokenizer: `${at}/tokenizer.json`, texts }),
    });
    expect(texts.map((text) => [...tokenizer.encode(text)])).toEqual(theirs);
  });
});
