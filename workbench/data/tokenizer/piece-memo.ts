// Ids of pieces seen before. Bounded: two generations, the older one dropped when the younger is full, so that what a
// text keeps using stays and what it used once goes.

import type { IdList } from "./id-list.ts";

/** Pieces a generation: WikiText-103 has 400 000 kinds, of which a few ten thousand make up nearly all the text. */
const GENERATION = 2 ** 17;

/** Longer pieces hardly ever come back. In UTF-16 units. */
const LONGEST = 64;

/** One id by itself, which most pieces have, takes no array. */
type Ids = number | readonly number[];

export class PieceMemo {
  readonly #encode: (piece: string) => readonly number[];
  readonly #generation: number;
  #young = new Map<string, Ids>();
  #old = new Map<string, Ids>();

  constructor(
    /** ids of a piece that is not known */
    encode: (piece: string) => readonly number[],
    generation: number = GENERATION,
  ) {
    this.#encode = encode;
    this.#generation = generation;
  }

  /** how many pieces are known, at most two generations */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Appends the ids of all pieces. */
  encode(pieces: readonly string[], to: IdList): void {
    for (const piece of pieces) {
      const ids = this.#young.get(piece) ?? this.#learn(piece);
      if (typeof ids === "number") to.push(ids);
      else to.pushAll(ids);
    }
  }

  #learn(piece: string): Ids {
    const ids = this.#old.get(piece) ?? compact(this.#encode(piece));
    if (piece.length > LONGEST) return ids;
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

/** A match is a view of its whole text: as a key it would keep that text, megabytes, in memory. */
function ownCopy(piece: string): string {
  const units = new Array<number>(piece.length);
  for (let i = 0; i < piece.length; i++) units[i] = piece.charCodeAt(i);
  return String.fromCharCode(...units);
}
