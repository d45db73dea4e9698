// Splits texts into pieces exactly as Rust's tokenizers do, with which models are trained.
//
// The JavaScript library differs in its built-in expressions: JavaScript's `\s` and `trim` lack U+0085 and include
// U+FEFF, and its `\w` is limited to ASCII, while Rust uses Unicode's White_Space and word characters.
// `useUnicodeWhiteSpace` corrects these. (The library translates the expressions of a tokenizer.json correctly.)
// `openCut` splits texts of byte-level tokenizers without converting them to the byte-level alphabet, which takes
// longer than the splitting.

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

/** GPT-2's expression: contractions, words, numbers and other runs, each with a preceding space, and white space. */
const GPT2_PIECES =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** `\w+|[^\w\s]+` with the character classes of Rust's `regex`. */
const WORDS =
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;

/** BERT's words; every printable ASCII character other than letters, digits and space is punctuation. */
const BERT_WORDS =
  /[^\p{White_Space}\p{P}\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e]+|[\p{P}\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e]/gu;

/** Corrects white space in the normalizers, pre-tokenizers and added tokens of a tokenizer of the library, in place. */
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

/** Makes a pre-tokenizer return the matches of an expression as pieces. */
function cutBy(part: PreTokenizer, pieces: RegExp): void {
  Object.assign(part, { pre_tokenize_text: (text: string) => text.match(pieces) ?? [] });
}

interface Splitter {
  split(text: string): string[];
}

/** The library's parts that split a text at added tokens, before and after normalization. */
interface Splitters {
  splitter_unnormalized: Splitter;
  splitter_normalized: Splitter;
  added_tokens_map: Map<string, AddedToken>;
}

/**
 * Strips white space beside added tokens with `lstrip` or `rstrip` when splitting; the library would use `trim` later.
 */
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

/** Splits a text into pieces. */
export type Cut = (text: string) => readonly string[];

const ByteLevel = z.looseObject({
  type: z.literal("ByteLevel"),
  add_prefix_space: z.boolean().nullish(),
  use_regex: z.boolean().nullish(),
});
const Split = z.looseObject({ type: z.literal("Split"), pattern: z.object({ Regex: z.string() }) });
const Sequence = z.looseObject({ type: z.literal("Sequence"), pretokenizers: z.tuple([Split], z.unknown()) });

type SplitConfig = ConstructorParameters<typeof SplitPreTokenizer>[0];

/**
 * Returns the function that splits texts for a byte-level pre-tokenizer: GPT-2's expression, an expression of its own
 * (`Split`), as later models have, or both.
 * @returns undefined for other pre-tokenizers
 */
export function openCut(definition: TokenizerDefinition["pre_tokenizer"]): Cut | undefined {
  const alone = ByteLevel.safeParse(definition).data;
  if (alone) return byteLevelCut(alone);
  const [first, second, ...more] = Sequence.safeParse(definition).data?.pretokenizers ?? [];
  const last = ByteLevel.safeParse(second).data;
  // With a prefix space, the library would insert a space before every piece.
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
