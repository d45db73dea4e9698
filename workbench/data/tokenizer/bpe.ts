// Byte-pair encoding (Sennrich et al. 2016): of characters, as SentencePiece's, and of bytes, as GPT-2's.

import { z } from "zod";
import { byteLevelCharacter, toByteLevel } from "../../../hub/text/byte-level.ts";
import { type MergeIds, openMerges } from "./merges.ts";
import type { Model } from "./model.ts";
import { type Part, readPart } from "./read-part.ts";
import { byteIds, readVocabulary, unknownIdOf } from "./vocabulary.ts";

const Fields = z.object({
  dropout: z.number().nullish(),
  unk_token: z.string().nullish(),
  continuing_subword_prefix: z.string().nullish(),
  end_of_word_suffix: z.string().nullish(),
  fuse_unk: z.boolean().nullish(),
  byte_fallback: z.boolean().nullish(),
  ignore_merges: z.boolean().nullish(),
  merges: z.array(z.unknown()),
});

/** Opens a BPE model. @throws Error if it is damaged, or drops merges at random */
export function openBpe(part: Part): Model {
  const fields = readPart(Fields, part, "model BPE");
  if (fields.dropout) throw new Error("model BPE: dropout is not supported: the ids of a text would be random");
  const vocabulary = readVocabulary(part.vocab, "model BPE");
  const merge = openMerges(vocabulary, fields.merges, fields.continuing_subword_prefix ?? "");
  const whole = (piece: string) => (fields.ignore_merges ? vocabulary.get(piece) : undefined);
  const symbols = symbolsOf(fields, vocabulary);
  return {
    vocabulary,
    encode: (piece) => {
      const id = whole(piece);
      if (id !== undefined) return [id];
      const ids = Int32Array.from(symbols(piece));
      return Array.from(ids.subarray(0, merge(ids, ids.length)));
    },
    encodeBytes: openBytes(fields, { vocabulary, merge, whole }),
  };
}

/** Returns the function that gives the ids of the characters of a piece, with unknown ones replaced. */
function symbolsOf(
  fields: z.infer<typeof Fields>,
  vocabulary: ReadonlyMap<string, number>,
): (piece: string) => number[] {
  const { unk_token: unknown, fuse_unk: fuse, byte_fallback: fallback } = fields;
  const [prefix, suffix] = [fields.continuing_subword_prefix ?? "", fields.end_of_word_suffix ?? ""];
  const unknownId = unknownIdOf(vocabulary, unknown ?? "");
  return (piece) => {
    const ids: number[] = [];
    let waiting: number | undefined;
    let at = 0;
    for (const character of piece) {
      const first = at === 0;
      at += character.length;
      const symbol = `${first ? "" : prefix}${character}${at === piece.length ? suffix : ""}`;
      const id = vocabulary.get(symbol);
      if (id !== undefined) {
        if (waiting !== undefined) ids.push(waiting);
        waiting = undefined;
        ids.push(id);
        continue;
      }
      // As in Rust, the ids of bytes come before an unknown token that waits to be fused.
      const bytes = fallback ? byteIds(vocabulary, symbol) : undefined;
      if (bytes) ids.push(...bytes);
      else if (unknown !== undefined && unknown !== null) {
        if (waiting !== undefined && !fuse) ids.push(waiting);
        waiting = unknownId();
      }
    }
    if (waiting !== undefined) ids.push(waiting);
    return ids;
  };
}

const utf8 = new TextEncoder();

/** Longest piece whose bytes go to memory that is kept, in UTF-16 units. A unit has at most three bytes in UTF-8. */
const LONGEST = 128;

/** Encodes pieces of plain text by their bytes; undefined if a byte has no token, or words have prefixes or suffixes. */
function openBytes(
  fields: z.infer<typeof Fields>,
  model: { vocabulary: ReadonlyMap<string, number>; merge: MergeIds; whole: (piece: string) => number | undefined },
): Model["encodeBytes"] {
  const { vocabulary, merge, whole } = model;
  if (fields.continuing_subword_prefix || fields.end_of_word_suffix) return undefined;
  const found = Array.from({ length: 256 }, (_, byte) => vocabulary.get(byteLevelCharacter(byte)));
  if (found.includes(undefined)) return undefined;
  const idOf = Int32Array.from(found as number[]);
  const [kept, keptIds] = [new Uint8Array(3 * LONGEST), new Int32Array(3 * LONGEST)];
  return (piece) => {
    if (fields.ignore_merges) {
      const id = whole(toByteLevel(piece));
      if (id !== undefined) return [id];
    }
    const short = piece.length <= LONGEST;
    const bytes = short ? kept : utf8.encode(piece);
    const length = short ? utf8.encodeInto(piece, kept).written : bytes.length;
    const ids = short ? keptIds : new Int32Array(length);
    for (let i = 0; i < length; i++) ids[i] = idOf[bytes[i] as number] as number;
    return Array.from(ids.subarray(0, merge(ids, length)));
  };
}
