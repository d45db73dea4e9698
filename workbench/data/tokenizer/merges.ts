// Byte-pair merging on ids, for pieces that are met for the first time: the pair of lowest rank merges, the leftmost where
// it is there twice, until none is left (Sennrich et al. 2016). Merges as the library does, which does it on strings; a
// vocabulary where that is not the same is refused, and the library asked.

import type { Tokenizer as Library } from "@huggingface/tokenizers";
import { byteLevelCharacter } from "./byte-level.ts";
import type { TokenizerDefinition } from "./definition.ts";
import { NO_PAIR, PairRanks } from "./pair-ranks.ts";

/** Ids of a piece, or nothing for one too long to search pair by pair. */
export type Merge = (piece: string) => number[] | undefined;

/** UTF-16 units; each is at most three bytes. */
const LONGEST = 128;

/** @returns nothing when ids alone do not say what merges */
export function openMerges(library: Library, { model }: TokenizerDefinition): Merge | undefined {
  if (model.end_of_word_suffix || model.continuing_subword_suffix || model.ignore_merges) return undefined;
  const table = mergesOf(library, model.merges);
  const bytes = Array.from({ length: 256 }, (_, byte) => library.token_to_id(byteLevelCharacter(byte)));
  if (!table || bytes.includes(undefined)) return undefined;
  const byteIds = Int32Array.from(bytes as number[]);
  const scratch = new Uint8Array(3 * LONGEST);
  const ids = new Int32Array(3 * LONGEST);
  const ranks = new Int32Array(3 * LONGEST);
  const utf8 = new TextEncoder();
  const rankAt = (i: number) => table.ranks.get(ids[i] as number, ids[i + 1] as number);
  return (piece) => {
    if (piece.length > LONGEST) return undefined;
    let length = utf8.encodeInto(piece, scratch).written;
    for (let i = 0; i < length; i++) ids[i] = byteIds[scratch[i] as number] as number;
    for (let i = 0; i + 1 < length; i++) ranks[i] = rankAt(i);
    while (length > 1) {
      const at = lowest(ranks, length - 1);
      const rank = ranks[at] as number;
      if (rank === NO_PAIR) break;
      ids[at] = table.merged[rank] as number;
      length--;
      for (let i = at + 1; i < length; i++) {
        ids[i] = ids[i + 1] as number;
        ranks[i] = ranks[i + 1] as number;
      }
      if (at > 0) ranks[at - 1] = rankAt(at - 1);
      if (at + 1 < length) ranks[at] = rankAt(at);
    }
    return Array.from(ids.subarray(0, length));
  };
}

function lowest(ranks: Int32Array, count: number): number {
  let at = 0;
  for (let i = 1; i < count; i++) if ((ranks[i] as number) < (ranks[at] as number)) at = i;
  return at;
}

interface Merges {
  ranks: PairRanks;
  /** id that a rank's pair becomes */
  merged: Int32Array;
}

function mergesOf(library: Library, merges: unknown): Merges | undefined {
  const vocabulary = library.model?.tokens_to_ids;
  if (!vocabulary || !Array.isArray(merges) || new Set(vocabulary.values()).size !== vocabulary.size) return undefined;
  const table = { ranks: new PairRanks(merges.length), merged: new Int32Array(merges.length) };
  for (let rank = 0; rank < merges.length; rank++) {
    const merge = merges[rank] as string | [string, string];
    const [left, right] = typeof merge === "string" ? merge.split(" ", 2) : merge;
    const [a, b] = [vocabulary.get(left as string), vocabulary.get(right as string)];
    const ab = vocabulary.get(`${left}${right}`);
    if (a === undefined || b === undefined || ab === undefined) return undefined;
    // A merge listed twice has its last rank, as in the library.
    table.ranks.set(a, b, rank);
    table.merged[rank] = ab;
  }
  return table;
}
