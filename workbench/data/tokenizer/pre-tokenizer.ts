// White space in the library's normalizers and pre-tokenizers. Rust's tokenizers, which models are trained with, mean
// Unicode's White_Space; JavaScript's `\s` and `trim` lack U+0085 and have U+FEFF, and its `\w` is ASCII alone. The
// library translates the expressions of a tokenizer.json itself; those that it brings along are corrected here.

import {
  type AddedToken,
  BertPreTokenizer,
  ByteLevelPreTokenizer,
  type Tokenizer as Library,
  type Normalizer,
  type PreTokenizer,
  SequenceNormalizer,
  SequencePreTokenizer,
  SplitPreTokenizer,
  StripNormalizer,
  WhitespacePreTokenizer,
  WhitespaceSplitPreTokenizer,
} from "@huggingface/tokenizers";
import { z } from "zod";
import type { TokenizerDefinition } from "./definition.ts";

/** GPT-2's expression: contractions, words, numbers, other runs, each with a space before it; white space. */
export const GPT2_PIECES =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** `\w+|[^\w\s]+` as Rust's `regex` means it. */
const WORDS =
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;

/** A character of ASCII that is printed and no letter, digit or space counts as punctuation. */
const BERT_WORDS =
  /[^\p{White_Space}\p{P}\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e]+|[\p{P}\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e]/gu;

/** Makes a tokenizer of the library cut texts where Rust's does. */
export function useUnicodeWhiteSpace(library: Library): void {
  if (library.normalizer) correctNormalizer(library.normalizer);
  if (library.pre_tokenizer) correct(library.pre_tokenizer);
  stripAround([...library.get_added_tokens_decoder().values()], library as unknown as Splitters);
}

function correctNormalizer(part: Normalizer): void {
  if (part instanceof SequenceNormalizer) for (const inner of part.normalizers) if (inner) correctNormalizer(inner);
  if (!(part instanceof StripNormalizer)) return;
  const { strip_left: left, strip_right: right } = part.config;
  const normalize = (text: string) => strippedEnd(strippedStart(text, left), right);
  Object.assign(part, { normalize });
}

function strippedStart(text: string, strip: boolean | undefined): string {
  return strip ? text.replace(/^\p{White_Space}+/u, "") : text;
}

function strippedEnd(text: string, strip: boolean | undefined): string {
  return strip ? text.replace(/\p{White_Space}+$/u, "") : text;
}

function correct(part: PreTokenizer): void {
  if (part instanceof SequencePreTokenizer) for (const inner of part.tokenizers) if (inner) correct(inner);
  if (part instanceof ByteLevelPreTokenizer) part.pattern = GPT2_PIECES;
  if (part instanceof WhitespaceSplitPreTokenizer) cutBy(part, /\P{White_Space}+/gu);
  if (part instanceof WhitespacePreTokenizer) cutBy(part, WORDS);
  if (part instanceof BertPreTokenizer) cutBy(part, BERT_WORDS);
}

function cutBy(part: PreTokenizer, pieces: RegExp): void {
  Object.assign(part, { pre_tokenize_text: (text: string) => text.match(pieces) ?? [] });
}

interface Splitter {
  split(text: string): string[];
}

/** What the library cuts a text with at added tokens, before and after normalizing. */
interface Splitters {
  splitter_unnormalized: Splitter;
  splitter_normalized: Splitter;
  added_tokens_map: Map<string, AddedToken>;
}

/** White space that an added token takes in goes with the cut, where the library would trim it afterwards. */
function stripAround(tokens: readonly AddedToken[], library: Splitters): void {
  const [left, right] = [new Set<AddedToken>(), new Set<AddedToken>()];
  for (const token of tokens) {
    if (token.lstrip) left.add(token);
    if (token.rstrip) right.add(token);
    Object.assign(token, { lstrip: false, rstrip: false });
  }
  if (left.size + right.size === 0) return;
  const stripping = (splitter: Splitter): Splitter => ({
    split: (text) => {
      const sections = splitter.split(text);
      const found = sections.map((section) => library.added_tokens_map.get(section));
      return sections.map((section, i) => {
        const [before, after] = [found[i - 1], found[i + 1]];
        if (found[i]) return section;
        return strippedEnd(strippedStart(section, before && right.has(before)), after && left.has(after));
      });
    },
  });
  library.splitter_unnormalized = stripping(library.splitter_unnormalized);
  library.splitter_normalized = stripping(library.splitter_normalized);
}

// How a byte-level tokenizer cuts a text into pieces that become ids by themselves: by GPT-2's expression, or by
// expressions of its own before it (`Split`), as later models have. Pieces are the text's own characters here; the
// library's come in the byte-level alphabet, which costs more than the cutting.

export type Cut = (text: string) => readonly string[];

const ByteLevel = z.looseObject({
  type: z.literal("ByteLevel"),
  add_prefix_space: z.boolean().nullish(),
  use_regex: z.boolean().nullish(),
});
const Split = z.looseObject({ type: z.literal("Split"), pattern: z.object({ Regex: z.string() }) });
const Sequence = z.looseObject({ type: z.literal("Sequence"), pretokenizers: z.tuple([Split], z.unknown()) });

type SplitConfig = ConstructorParameters<typeof SplitPreTokenizer>[0];

/** @returns nothing where the text is cut in another way */
export function openCut(definition: TokenizerDefinition["pre_tokenizer"]): Cut | undefined {
  const alone = ByteLevel.safeParse(definition).data;
  if (alone) return byteLevelCut(alone);
  const [first, second, ...more] = Sequence.safeParse(definition).data?.pretokenizers ?? [];
  const last = ByteLevel.safeParse(second).data;
  // A space would be put before each piece.
  if (!first || !last || last.add_prefix_space || more.length > 0) return undefined;
  const split = new SplitPreTokenizer(first as unknown as SplitConfig);
  const cut = byteLevelCut(last);
  return (text) => {
    const pieces = split.pre_tokenize_text(text);
    return (last.use_regex ?? true) ? pieces.flatMap(cut) : pieces;
  };
}

function byteLevelCut({ add_prefix_space: prefix, use_regex: regex }: z.infer<typeof ByteLevel>): Cut {
  return (text) => {
    const whole = prefix && !text.startsWith(" ") ? ` ${text}` : text;
    return (regex ?? true) ? (whole.match(GPT2_PIECES) ?? []) : [whole];
  };
}
