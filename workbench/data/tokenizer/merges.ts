// Merging of ids by the ranks of pairs (Sennrich et al. 2016): the pair of lowest rank is merged, the leftmost one
// first, until no pair merges. The ids are those of Rust's `tokenizers`.

import { NO_PAIR, PairTable } from "./pair-table.ts";

/** Longest list of ids that is merged by a quadratic search, which is faster for short lists. */
const SHORT = 96;

/** Merges a list of ids in place. @returns the new length */
export type MergeIds = (ids: Int32Array, length: number) => number;

/**
 * Reads the merges of a model.
 * @param merges pairs, or strings with a space between the two parts
 * @param prefix of parts that continue a word; a merged token has it only if its first part has
 * @throws Error if a merge is damaged, or one of its tokens is not in the vocabulary
 */
export function openMerges(
  vocabulary: ReadonlyMap<string, number>,
  merges: readonly unknown[],
  prefix: string,
): MergeIds {
  const pairs = merges
    .filter((merge) => !(typeof merge === "string" && merge.startsWith("#version")))
    .map((merge, rank) => pairOf(merge, rank));
  const table = new PairTable(pairs.length);
  const merged = new Int32Array(pairs.length);
  const idOf = (token: string, rank: number) => {
    const id = vocabulary.get(token);
    if (id !== undefined) return id;
    throw new Error(`merge ${rank}: the token ${JSON.stringify(token)} is not in the vocabulary`);
  };
  pairs.forEach(([left, right], rank) => {
    // A pair that is listed twice has its last rank.
    table.set(idOf(left, rank), idOf(right, rank), rank);
    merged[rank] = idOf(left + right.slice(prefix.length), rank);
  });
  const byHeap = mergeByHeap(table, merged);
  // Two tokens with one id could be the same merge to the heap, which compares ids.
  const simple = prefix === "" && new Set(vocabulary.values()).size === vocabulary.size;
  const bySearch = mergeBySearch(table, merged);
  return (ids, length) => (simple && length <= SHORT ? bySearch(ids, length) : byHeap(ids, length));
}

function pairOf(merge: unknown, rank: number): [string, string] {
  const parts = typeof merge === "string" ? merge.split(" ") : merge;
  if (Array.isArray(parts) && parts.length === 2 && parts.every((part) => typeof part === "string")) {
    return parts as [string, string];
  }
  throw new Error(`merge ${rank}: ${JSON.stringify(merge)?.slice(0, 40)} is not a pair of tokens`);
}

/** Searches all pairs for the lowest rank before each merge. */
function mergeBySearch(table: PairTable, merged: Int32Array): MergeIds {
  const ranks = new Int32Array(SHORT);
  return (ids, count) => {
    let length = count;
    const rankAt = (i: number) => table.get(ids[i] as number, ids[i + 1] as number);
    for (let i = 0; i + 1 < length; i++) ranks[i] = rankAt(i);
    while (length > 1) {
      const at = lowest(ranks, length - 1);
      const rank = ranks[at] as number;
      if (rank === NO_PAIR) break;
      ids[at] = merged[rank] as number;
      length--;
      for (let i = at + 1; i < length; i++) {
        ids[i] = ids[i + 1] as number;
        ranks[i] = ranks[i + 1] as number;
      }
      if (at > 0) ranks[at - 1] = rankAt(at - 1);
      if (at + 1 < length) ranks[at] = rankAt(at);
    }
    return length;
  };
}

/** Position of the lowest rank, the first one if several are equal. */
function lowest(ranks: Int32Array, count: number): number {
  let at = 0;
  for (let i = 1; i < count; i++) if ((ranks[i] as number) < (ranks[at] as number)) at = i;
  return at;
}

/**
 * Keeps the pairs in a heap by rank and position. An entry whose pair has changed is skipped when it comes up, unless
 * the new pair merges to the same id.
 */
function mergeByHeap(table: PairTable, merged: Int32Array): MergeIds {
  return (ids, length) => {
    const previous = Int32Array.from({ length }, (_, i) => i - 1);
    const next = Int32Array.from({ length }, (_, i) => (i + 1 < length ? i + 1 : -1));
    const gone = new Uint8Array(length);
    const heap = new Heap(3 * length);
    const offer = (at: number) => {
      const rank = table.get(ids[at] as number, ids[next[at] as number] as number);
      if (rank !== NO_PAIR) heap.push(rank * length + at);
    };
    for (let at = 0; at + 1 < length; at++) offer(at);
    while (heap.size > 0) {
      const key = heap.pop();
      const at = key % length;
      const id = merged[(key - at) / length] as number;
      const right = next[at] as number;
      if (gone[at] === 1 || right < 0) continue;
      const rank = table.get(ids[at] as number, ids[right] as number);
      if (rank === NO_PAIR || merged[rank] !== id) continue;
      ids[at] = id;
      gone[right] = 1;
      const after = next[right] as number;
      next[at] = after;
      if (after >= 0) previous[after] = at;
      const before = previous[at] as number;
      if (before >= 0) offer(before);
      if (after >= 0) offer(at);
    }
    let kept = 0;
    for (let at = 0; at < length; at++) if (gone[at] === 0) ids[kept++] = ids[at] as number;
    return kept;
  };
}

/** A binary heap of numbers, the smallest first. */
class Heap {
  size = 0;
  #keys: Float64Array;

  constructor(capacity: number) {
    this.#keys = new Float64Array(Math.max(16, capacity));
  }

  push(key: number): void {
    if (this.size === this.#keys.length) {
      const larger = new Float64Array(2 * this.size);
      larger.set(this.#keys);
      this.#keys = larger;
    }
    const keys = this.#keys;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((keys[parent] as number) <= key) break;
      keys[at] = keys[parent] as number;
      at = parent;
    }
    keys[at] = key;
  }

  pop(): number {
    const keys = this.#keys;
    const top = keys[0] as number;
    const last = keys[--this.size] as number;
    let at = 0;
    for (let child = 1; child < this.size; child = 2 * at + 1) {
      if (child + 1 < this.size && (keys[child + 1] as number) < (keys[child] as number)) child++;
      if ((keys[child] as number) >= last) break;
      keys[at] = keys[child] as number;
      at = child;
    }
    keys[at] = last;
    return top;
  }
}
