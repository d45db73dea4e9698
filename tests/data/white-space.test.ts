// What white space is to a tokenizer: Unicode's White_Space, stated here. tests/python/white-space.slow.test.ts asks Python.

import { expect, test } from "bun:test";
import { openTokenizer } from "../../workbench/data/index.ts";
import { openPreTokenizer } from "../../workbench/data/tokenizer/pre-tokenizers.ts";
import { WordCounter } from "../../workbench/data/tokenizer/word-counter.ts";
import { GPT2, HUB_IS_HERE } from "./hub-folders.ts";
import { BYTE_LEVEL, WHITE_SPACE } from "./white-space.ts";

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
  const { cut } = openPreTokenizer(BYTE_LEVEL);
  expect(cut("a \u0085b", true)).toEqual(["a", " ", "\u0085", "b"]);
  expect(cut(" \u0085b", true)).toEqual([" ", "\u0085", "b"]);
  expect(cut(" \ufeffHello", true)).toEqual([" \ufeff", "Hello"]);
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
