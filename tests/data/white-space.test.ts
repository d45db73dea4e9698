// What white space is to a tokenizer: Unicode's White_Space, stated here, and Rust's tokenizers where a Python has them.

import { describe, expect, test } from "bun:test";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { openTokenizer } from "../../workbench/data/index.ts";
import { openCut } from "../../workbench/data/tokenizer/cut-pieces.ts";
import { useUnicodeWhiteSpace } from "../../workbench/data/tokenizer/white-space.ts";
import { WordCounter } from "../../workbench/data/words.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "../python/python.ts";
import { ALPHABET, GPT2, HUB_IS_HERE, writeTinyTokenizer } from "./hub-folders.ts";

const folder = temporaryFolder();
const python = pythonWith("tokenizers");

/** PropList.txt of Unicode, White_Space. */
const WHITE_SPACE = [
  ...[0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x85, 0xa0, 0x1680],
  ...[0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a],
  ...[0x2028, 0x2029, 0x202f, 0x205f, 0x3000],
];

/** DerivedAge.txt: letters of Unicode 17, which a runtime may know and a build of tokenizers not, or the reverse. */
const YOUNG_LETTERS =
  /[\u088f\u0c5c\u0cdc\ua7ce-\ua7d4\ua7f1\u{10940}-\u{10959}\u{10ec5}-\u{10ec7}\u{11db0}-\u{11de9}\u{16ea0}-\u{16ed3}\u{16ff2}-\u{16ff6}\u{187f8}-\u{187ff}\u{18d09}-\u{18d1e}\u{18d80}-\u{18df2}\u{1e6c0}-\u{1e6ff}\u{2a6e0}-\u{2a6ff}\u{2b739}-\u{2b73f}\u{2cea2}-\u{2cead}\u{323b0}-\u{33479}]/u;

/** Each code point after and before a letter, a digit, a space, two spaces and an apostrophe. */
const AROUND = "aX1X X  Xb X2 X 'X";

const BYTE_LEVEL = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };

test("words are counted between the 25 characters of White_Space, over all code points", () => {
  const parting: number[] = [];
  for (let code = 0; code < 0x110000; code++) {
    const counter = new WordCounter();
    counter.add(`a${String.fromCodePoint(code)}b`);
    if (counter.words === 2) parting.push(code);
  }
  expect(parting).toEqual(WHITE_SPACE);
});

test("GPT-2's expression takes U+0085 for white space, and U+FEFF not", () => {
  const cut = openCut(BYTE_LEVEL);
  expect(cut?.("a \u0085b")).toEqual(["a", " ", "\u0085", "b"]);
  expect(cut?.(" \u0085b")).toEqual([" ", "\u0085", "b"]);
  expect(cut?.(" \ufeffHello")).toEqual([" \ufeff", "Hello"]);
});

test.skipIf(!HUB_IS_HERE)(
  "GPT-2's ids around U+0085 and U+FEFF are those of Python, in rows with added tokens too",
  async () => {
    const tokenizer = await openTokenizer(GPT2);
    expect([...tokenizer.encode(" \u0085b")]).toEqual([220, 126, 227, 65]);
    expect([...tokenizer.encode(" \ufeffHello")]).toEqual([27332, 119, 123, 15496]);
    expect([...tokenizer.encode("a \u0085b")]).toEqual([64, 220, 126, 227, 65]);
    expect([...tokenizer.encode("a \u0085b<|endoftext|> \ufeffHello")]).toEqual([
      ...[64, 220, 126, 227, 65, 50256, 27332, 119, 123, 15496],
    ]);
  },
);

describe.skipIf(!python)("as tokenizers in Python", () => {
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
      const cut = openCut(BYTE_LEVEL) as (text: string) => string[];
      const range = { first: plane * 0x10000, last: Math.min(0x10ffff, plane * 0x10000 + 0x3ffff) };
      const [others = []] = await differing([BYTE_LEVEL], range, [cut]);
      expect(others.filter((character) => !YOUNG_LETTERS.test(character))).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "the pre-tokenizers that cut at white space do so at the same separators and control characters",
    async () => {
      const kinds = ["WhitespaceSplit", "Whitespace", "BertPreTokenizer"].map((type) => ({ type }));
      const cuts = kinds.map((pre_tokenizer) => {
        const model = { type: "BPE", vocab: {}, merges: [] };
        const parts = { normalizer: null, post_processor: null, decoder: null, added_tokens: [] };
        const library = new Library({ ...parts, model, pre_tokenizer }, {});
        useUnicodeWhiteSpace(library);
        return (text: string) => library.pre_tokenizer?.pre_tokenize_text(text) ?? [];
      });
      const others = await differing(kinds, { first: 0, last: 0xffff }, cuts);
      // What a letter or punctuation is depends on the version of Unicode that each was built with.
      const spaces = others.map((some) => some.filter((character) => /[\p{Z}\p{Cc}\p{Cf}]/u.test(character)));
      expect(spaces).toEqual([[], [], []]);
    },
    PATIENCE,
  );

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
