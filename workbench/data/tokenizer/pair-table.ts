// A table of numbers by pairs of integers: ranks of merges by two ids, and children in a trie by node and character.

/** Value of pairs that are not in the table; larger than all others. */
export const NO_PAIR = 0x7fffffff;

/**
 * Numbers of pairs of integers: a hash table of fixed size with open addressing. A Map would need one key for both and
 * is several times slower for keys that are not small integers.
 */
export class PairTable {
  readonly #mask: number;
  /** (size, 3): both integers and the value of each slot; that of an unused slot is NO_PAIR */
  readonly #places: Int32Array;

  constructor(
    /** largest number of pairs */
    pairs: number,
  ) {
    const size = 2 ** Math.ceil(Math.log2(2 * pairs + 2));
    this.#mask = size - 1;
    this.#places = new Int32Array(3 * size).fill(NO_PAIR);
  }

  set(a: number, b: number, value: number): void {
    this.#places.set([a, b, value], this.#find(a, b));
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
