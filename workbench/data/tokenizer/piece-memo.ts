// Remembers the ids of pieces of text, most of which occur many times.

import type { IdList } from "./id-list.ts";

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
