// The models of a tokenizer.json: each turns a piece of text into ids.

import { openBpe } from "./bpe.ts";
import type { TokenizerDefinition } from "./definition.ts";
import { partOpener } from "./read-part.ts";
import { openUnigram } from "./unigram.ts";
import { openWordLevel, openWordPiece } from "./word-piece.ts";

/** A model. */
export interface Model {
  /** id of each token, without added tokens */
  readonly vocabulary: ReadonlyMap<string, number>;
  /** tokens by id, where the vocabulary is a list, which may have a token twice */
  readonly list?: readonly string[];
  /** encodes a piece. @throws Error if the piece has an unknown part and the vocabulary no token for it */
  encode(piece: string): readonly number[];
  /** encodes a piece of plain text by its bytes in the byte-level alphabet, if the vocabulary has all of them */
  encodeBytes?: ((piece: string) => readonly number[]) | undefined;
}

const open = partOpener<Model>("model", {
  BPE: openBpe,
  Unigram: openUnigram,
  WordPiece: openWordPiece,
  WordLevel: openWordLevel,
});

/** Opens the model of a tokenizer.json. @throws Error if it is not supported or damaged */
export function openModel(part: TokenizerDefinition["model"]): Model {
  return open({ ...part, type: part.type ?? guessed(part) }, 0);
}

/** The type of a model that does not say it, as in files of 2020. */
function guessed(part: Record<string, unknown>): string {
  if (Object.hasOwn(part, "merges")) return "BPE";
  if (Array.isArray(part.vocab)) return "Unigram";
  return Object.hasOwn(part, "continuing_subword_prefix") ? "WordPiece" : "WordLevel";
}
