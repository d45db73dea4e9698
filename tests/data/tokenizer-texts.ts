// Texts with what tokenizers are likely to get wrong, made from a seed: all scripts, combining marks, emoji, white space of
// every kind, line ends, control characters, long runs, code, and chats with special tokens.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { parquetRows } from "../../workbench/data/dataset/rows.ts";
import { WIKITEXT } from "./hub-folders.ts";

/** Scripts and signs; the first ones are the most frequent. */
const SCRIPTS: [first: number, last: number][] = [
  [0x20, 0x7e],
  [0x61, 0x7a],
  [0x61, 0x7a],
  [0xa0, 0x24f],
  [0x250, 0x36f],
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
  [0x2150, 0x23ff],
  [0x2460, 0x24ff],
  [0x3000, 0x30ff],
  [0x4e00, 0x9fff],
  [0xac00, 0xd7a3],
  [0xf900, 0xffff],
  [0x1d400, 0x1d7ff],
  [0x1f300, 0x1faff],
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

const GAPS = [
  ...[" ", " ", " ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\t", "\t\t  ", " \n ", "\r"],
  ...[
    "'s ",
    "'S ",
    " 'll ",
    "'\u017f ",
    "n't ",
    " do not ",
    "'RE",
    ", ",
    ". ",
    " . ",
    "!?",
    "...",
    " -- ",
    "(",
    ")\n",
    "/",
  ],
  ...[
    "\u00a0",
    "\u3000",
    "\u2028",
    "\u0085",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u2581",
    " \u2581",
    "\0",
    "\u0001",
    "\u007f",
  ],
  ...[
    "e\u0301",
    "a\u030a\u0323",
    "\u0e33",
    "\u0600a",
    "ﬁ\u0301",
    "\u1100\u1161\u11a8",
    "が",
    "か\u3099",
    "\u0344",
    "ΑΣ ",
    "İ",
    "ß",
  ],
  ...["👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "👍🏽", "❤️", "#️⃣", "½", "①", "㌀", "ﷺ", "１２３", "٣٤", "\ufffd", "\u{e0041}", "x\u20dd"],
  ...[
    " 42 ",
    "1234567890123",
    "3.14159",
    "1,000,000",
    "0x7f",
    "²³",
    "Ⅷ",
    "<unk>",
    "<s>",
    "</s>",
    "[MASK]",
    "[UNK]",
    "<0x41>",
  ],
  ...[
    "<|endoftext|>",
    "<|im_start|>user\n",
    "<|im_end|>\n",
    " <|im_end|> ",
    "<|im_",
    "<|begin_of_text|>",
    "<|eot_id|>",
  ],
  ...[
    "new word",
    " left",
    "right ",
    "whole",
    "wholes",
    " tHe ",
    "<mask>",
    "  <mask>  ",
    "``a''",
    "http://a.b/c?d=e&f=%20#g",
  ],
];

const CODE = `
def f(x: int = 0) -> "list[str]":
\treturn [g(y) for y in range(x) if y != 3]  # 日本語 ±1e-5
if (a && b || !c) { d += e[i++] << 2; } // don't

    const s = \`\${x}\`;\r\n\r\n\r\n        }
`;

/** A generator of whole numbers below a bound, the same for a seed everywhere. */
function picker(seed: number): (count: number) => number {
  let state = seed;
  return (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}

/** Texts of about 3 kB each, `bytes` of UTF-8 in all. */
export function madeTexts(bytes: number, seed: number): string[] {
  const pick = picker(seed);
  const texts: string[] = [];
  for (let made = 0; made < bytes; ) {
    const near = Array.from({ length: 3 }, () => SCRIPTS[pick(SCRIPTS.length)] as [number, number]);
    const words = Array.from({ length: 1 + pick(500) }, () => {
      const gap = GAPS[pick(GAPS.length)] as string;
      if (pick(40) === 0) return gap.repeat(1 + pick(60));
      if (pick(150) === 0) return CODE;
      const [first, last] =
        pick(3) === 0 ? (SCRIPTS[pick(SCRIPTS.length)] as [number, number]) : (near[pick(3)] as [number, number]);
      const letters = Array.from({ length: 1 + pick(9) }, () => first + pick(last - first + 1));
      return String.fromCodePoint(...letters) + (pick(3) === 0 ? gap : " ");
    });
    const text = words.join("");
    made += Buffer.byteLength(text);
    texts.push(text);
  }
  return texts;
}

/** Conversations as templates of chats write them. */
export const CHATS: string[] = [
  "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi! What's 1+1?<|im_end|>\n<|im_start|>assistant\n",
  "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHello  there<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
  "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWhy? [/INST] Because. </s><s>[INST] And? [/INST]",
  " <|im_start|> user<|im_end|><|im_end|>\r\n<|im_start",
];

/** Rows of Wikipedia, if they are at hand. */
export async function wikipedia(): Promise<string[]> {
  const file = join(WIKITEXT, "wikitext-mini-v1/test-00000-of-00001.parquet");
  const found: string[] = [];
  if (existsSync(file)) for await (const { texts } of parquetRows(file, "text")) found.push(...texts);
  return found;
}
