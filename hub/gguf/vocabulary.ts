// The vocabulary of a GGUF file: tokens, their kinds, the ids of special tokens, and merges. How they become a
// tokenizer.json is in tokenizer.ts.

import { quote } from "../files/file-error.ts";
import type { Metadata } from "./metadata.ts";
import { GgufError } from "./types.ts";

/** Kinds of tokens by their number in the file. The others are normal, unknown, unused and byte tokens. */
const CONTROL = 3;
const USER_DEFINED = 4;

/** Tokens and their properties. */
export interface Vocabulary {
  /** the tokens; the index is the id */
  tokens: readonly string[];
  /** ids of tokens that are markup, such as <|im_end|> */
  control: readonly number[];
  /** ids of tokens that are found in text as a whole, but are no markup */
  userDefined: readonly number[];
  special: SpecialIds;
}

/** Ids of tokens with a role. */
export interface SpecialIds {
  bos?: number | undefined;
  eos?: number | undefined;
  unk?: number | undefined;
  pad?: number | undefined;
  /** ends a turn of a chat */
  eot?: number | undefined;
}

/** Reads the vocabulary. @throws GgufError if there is none, or an id is out of range */
export function readVocabulary(metadata: Metadata): Vocabulary {
  const tokens = metadata.texts("tokenizer.ggml.tokens") ?? metadata.missing("tokenizer.ggml.tokens");
  const kinds = metadata.numbers("tokenizer.ggml.token_type") ?? [];
  if (kinds.length !== 0 && kinds.length !== tokens.length) {
    throw metadata.fail("tokenizer.ggml.token_type", `as long as the ${tokens.length} tokens`, kinds);
  }
  const ofKind = (kind: number) => [...kinds.keys()].filter((id) => kinds[id] === kind);
  const id = (name: string) => {
    const key = `tokenizer.ggml.${name}_token_id`;
    const value = metadata.count(key);
    if (value === undefined || value < tokens.length) return value;
    throw metadata.fail(key, `below ${tokens.length}, the number of tokens`, value);
  };
  const special = { bos: id("bos"), eos: id("eos"), unk: id("unknown"), pad: id("padding"), eot: id("eot") };
  return { tokens, control: ofKind(CONTROL), userDefined: ofKind(USER_DEFINED), special };
}

/** A merge: two tokens whose concatenation is a token. */
export type Merge = readonly [string, string];

/**
 * The merges that the file lists, best first.
 * @param ids ids of all tokens
 * @returns undefined if it lists none
 */
export function readMerges(metadata: Metadata, ids: ReadonlyMap<string, number>): Merge[] | undefined {
  return metadata.texts("tokenizer.ggml.merges")?.map((text): Merge => {
    const [left = "", right = "", ...more] = text.split(" ");
    const isKnown = more.length === 0 && [left, right, left + right].every((token) => ids.has(token));
    if (isKnown) return [left, right];
    throw metadata.fail("tokenizer.ggml.merges", "a list of pairs of tokens whose concatenation is a token", text);
  });
}

/** Longest token of a SentencePiece vocabulary, in characters. Real ones have at most 48. */
const LONGEST_TOKEN = 128;

/**
 * Recovers the merges of a SentencePiece vocabulary: every way to cut a token into two tokens, the tokens with the best
 * scores first. The order is that of transformers' `generate_merges`.
 */
export function mergesFromScores(
  metadata: Metadata,
  { tokens }: Vocabulary,
  ids: ReadonlyMap<string, number>,
): Merge[] {
  const key = "tokenizer.ggml.scores";
  const scores = metadata.numbers(key) ?? metadata.missing(key);
  if (scores.length !== tokens.length) throw metadata.fail(key, `as long as the ${tokens.length} tokens`, scores);
  // Of a token that is listed twice, the last score counts, at the first position.
  const scoreOf = new Map(tokens.map((token, id) => [token, scores[id] as number]));
  const cuts = [...scoreOf].flatMap(([token, score]) => {
    const characters = [...token];
    if (characters.length > LONGEST_TOKEN) {
      const problem = `has the token ${quote(token)} of ${characters.length} characters; ${LONGEST_TOKEN} is the limit`;
      throw new GgufError(problem, { file: metadata.file });
    }
    return cutsOf(characters, ids).map((cut) => ({ ...cut, score }));
  });
  // The sort is stable, as Python's.
  cuts.sort((a, b) => b.score - a.score || b.lengths[0] - a.lengths[0] || b.lengths[1] - a.lengths[1]);
  return cuts.map(({ merge }) => merge);
}

interface Cut {
  merge: Merge;
  /** of the two parts, in characters */
  lengths: readonly [number, number];
  ids: readonly [number, number];
}

function cutsOf(characters: readonly string[], ids: ReadonlyMap<string, number>): Cut[] {
  const token = characters.join("");
  const cuts: Cut[] = [];
  let at = 0;
  for (let length = 1; length < characters.length; length++) {
    at += (characters[length - 1] as string).length;
    const [left, right] = [token.slice(0, at), token.slice(at)];
    const [leftId, rightId] = [ids.get(left), ids.get(right)];
    if (leftId === undefined || rightId === undefined) continue;
    cuts.push({ merge: [left, right], lengths: [length, characters.length - length], ids: [leftId, rightId] });
  }
  return cuts.sort((a, b) => a.ids[0] - b.ids[0] || a.ids[1] - b.ids[1]);
}
