// Byte-level byte-pair encoding of pieces (Sennrich et al. 2016; Radford et al. 2019): the byte-level alphabet, merging
// of ids, and a memo of pieces. The ids are equal to those of the library, which merges strings. Vocabularies for which
// this cannot be guaranteed are encoded by the library.

import type { Tokenizer as Library } from "@huggingface/tokenizers";
import type { TokenizerDefinition } from "./definition.ts";
import type { IdList } from "./id-list.ts";

/** Encodes a piece; returns undefined if the piece is too long for the quadratic search. */
export type Merge = (piece: string) => number[] | undefined;

/** Longest piece that is merged here, in UTF-16 units. A unit has at most three bytes in UTF-8. */
const LONGEST = 128;

/**
 * Returns the function that encodes pieces: the pair of lowest rank is merged, the leftmost one first, until no pair
 * merges.
 * @returns undefined if merging ids would not be the same as merging strings
 */
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

/** Position of the lowest rank, the first one if several are equal. */
function lowest(ranks: Int32Array, count: number): number {
  let at = 0;
  for (let i = 1; i < count; i++) if ((ranks[i] as number) < (ranks[at] as number)) at = i;
  return at;
}

interface Merges {
  ranks: PairRanks;
  /** merged id by rank */
  merged: Int32Array;
}

/** Reads the merges of a vocabulary. Undefined if ids do not determine the strings, or a merge is invalid. */
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
    // A merge that is listed twice has its last rank, as in the library.
    table.ranks.set(a, b, rank);
    table.merged[rank] = ab;
  }
  return table;
}

/** Bytes that stand for themselves in the byte-level alphabet; the other 68 are U+0100 and following (GPT-2's code). */
const PRINTABLE: readonly [first: number, last: number][] = [
  [0x21, 0x7e],
  [0xa1, 0xac],
  [0xae, 0xff],
];

const CHARACTERS: readonly string[] = (() => {
  let next = 0x100;
  const prints = (byte: number) => PRINTABLE.some(([first, last]) => byte >= first && byte <= last);
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++));
})();

const BYTES: ReadonlyMap<string, number> = new Map(CHARACTERS.map((character, byte) => [character, byte]));

const utf8 = new TextEncoder();

/** Character of the byte-level alphabet. @param byte 0 to 255 */
function byteLevelCharacter(byte: number): string {
  return CHARACTERS[byte] as string;
}

/** Converts a text to the byte-level alphabet, one character per byte of its UTF-8. */
export function toByteLevel(text: string): string {
  let mapped = "";
  for (const byte of utf8.encode(text)) mapped += CHARACTERS[byte];
  return mapped;
}

/** Bytes of a vocabulary entry; undefined if it contains characters outside of the byte-level alphabet. */
export function fromByteLevel(entry: string): Uint8Array | undefined {
  const bytes = new Uint8Array(entry.length);
  for (let i = 0; i < entry.length; i++) {
    const byte = BYTES.get(entry[i] as string);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** Rank of pairs that do not merge; larger than all others. */
const NO_PAIR = 0x7fffffff;

/**
 * Ranks of pairs of ids: a hash table of fixed size with open addressing. A Map would need one key for both ids and is
 * several times slower for keys that are not small integers.
 */
class PairRanks {
  readonly #mask: number;
  /** (size, 3): both ids and the rank of each slot; the rank of an unused slot is NO_PAIR */
  readonly #places: Int32Array;

  constructor(
    /** largest number of pairs */
    pairs: number,
  ) {
    const size = 2 ** Math.ceil(Math.log2(2 * pairs + 2));
    this.#mask = size - 1;
    this.#places = new Int32Array(3 * size).fill(NO_PAIR);
  }

  set(a: number, b: number, rank: number): void {
    this.#places.set([a, b, rank], this.#find(a, b));
  }

  get(a: number, b: number): number {
    return this.#places[this.#find(a, b) + 2] as number;
  }

  /**
   * Offset of the pair's slot or, if it has none, of an unused one. Half of the slots are unused, so the search ends.
   */
  #find(a: number, b: number): number {
    const places = this.#places;
    const mixed = Math.imul(Math.imul(a, 0x9e3779b1) ^ b, 0x85ebca6b);
    for (let place = (mixed ^ (mixed >>> 15)) & this.#mask; ; place = (place + 1) & this.#mask) {
      const at = 3 * place;
      if (places[at + 2] === NO_PAIR || (places[at] === a && places[at + 1] === b)) return at;
    }
  }
}

/**
 * Pieces per generation of the memo. WikiText-103 has 400 000 different pieces, but few of them make up most of the
 * text.
 */
const GENERATION = 2 ** 17;

/** Longer pieces, in UTF-16 units, are not remembered, because they rarely occur again. */
const LONGEST_REMEMBERED = 64;

/** Most pieces have one id, which is stored without an array. */
type Ids = number | readonly number[];

/**
 * Remembers the ids of pieces. The size is bounded: there are two generations, and the older one is dropped when the
 * younger one is full. Pieces that occur again move to the younger one, so that frequent pieces stay.
 */
export class PieceMemo {
  readonly #encode: (piece: string) => readonly number[];
  readonly #generation: number;
  #young = new Map<string, Ids>();
  #old = new Map<string, Ids>();

  constructor(
    /** encodes a piece that is not remembered */
    encode: (piece: string) => readonly number[],
    generation: number = GENERATION,
  ) {
    this.#encode = encode;
    this.#generation = generation;
  }

  /** number of remembered pieces, at most two generations */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Appends the ids of the pieces to a list. */
  encode(pieces: readonly string[], to: IdList): void {
    for (const piece of pieces) {
      const ids = this.#young.get(piece) ?? this.#learn(piece);
      if (typeof ids === "number") to.push(ids);
      else to.pushAll(ids);
    }
  }

  #learn(piece: string): Ids {
    const ids = this.#old.get(piece) ?? compact(this.#encode(piece));
    if (piece.length > LONGEST_REMEMBERED) return ids;
    if (this.#young.size >= this.#generation) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(ownCopy(piece), ids);
    return ids;
  }
}

function compact(ids: readonly number[]): Ids {
  return ids.length === 1 ? (ids[0] as number) : ids;
}

/** Copies a string. A substring as a key would keep the whole text it was taken from in memory. */
function ownCopy(piece: string): string {
  const units = new Array<number>(piece.length);
  for (let i = 0; i < piece.length; i++) units[i] = piece.charCodeAt(i);
  return String.fromCharCode(...units);
}
