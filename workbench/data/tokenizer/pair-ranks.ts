// Ranks of pairs of ids: a hash table with open addressing, of fixed size. A Map would need one key of both ids, and is
// several times slower where that key is no small integer.

/** Rank of a pair that never merges, above all others. */
export const NO_PAIR = 0x7fffffff;

export class PairRanks {
  readonly #mask: number;
  /** three numbers a place: both ids, the rank; an unused place has the rank NO_PAIR */
  readonly #places: Int32Array;

  constructor(
    /** most pairs that will be set */
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

  /** Where the pair is, or the unused place where it would be. Half of the places are unused, so there is one. */
  #find(a: number, b: number): number {
    const places = this.#places;
    const mixed = Math.imul(Math.imul(a, 0x9e3779b1) ^ b, 0x85ebca6b);
    for (let place = (mixed ^ (mixed >>> 15)) & this.#mask; ; place = (place + 1) & this.#mask) {
      const at = 3 * place;
      if (places[at + 2] === NO_PAIR || (places[at] === a && places[at + 1] === b)) return at;
    }
  }
}
