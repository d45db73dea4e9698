// One key/value cache for several sequences of different lengths, so that a forward pass can process tokens of all of
// them. Its memory is divided into pages of some positions each (PagedAttention; Kwon et al. 2023). A sequence takes a page
// when it needs one and gives all back at its end, so no memory is set aside for tokens that never come. On engines that
// cannot write into a tensor, each sequence has tensors of its own, and pages only count tokens.

import {
  concat,
  reshape,
  slice,
  type Tensor,
  tensor1d,
  tensor2d,
  tidy,
  type Variable,
  variable,
  zeros,
} from "@tensorflow/tfjs-core";
import { ShapeError } from "../../engine/core/errors.ts";
import { canAttendPages, canWriteRows, embedding, pagedAttention, scatterRows } from "../../engine/ops/index.ts";
import { type AttendOptions, attend, inHeads, outOfHeads } from "./attention.ts";
import { type AttentionCache, type KeyValueCache, keyValueCache, type QueriesKeysValues } from "./cache.ts";
import { endOf, type Stretch } from "./stretches.ts";

/** positions of a page */
export const PAGE = 64;

/** The tokens of one sequence in the cache. */
export interface CachedSequence {
  /** number of tokens in the cache */
  readonly length: number;
  /** Takes the pages for so many tokens in total. @returns false, and takes none, if too few are free */
  reserve(tokens: number): boolean;
  /** Drops all tokens and gives the pages back. */
  release(): void;
}

/** Tokens of one sequence in a forward pass. */
export interface SequenceTokens extends Pick<Stretch, "tokens" | "length"> {
  sequence: CachedSequence;
}

/** The keys and values of several sequences. Must be disposed of. */
export interface PagedCache {
  /** number of pages, and of those that no sequence has */
  readonly pages: number;
  readonly free: number;
  /** A sequence without tokens. */
  open(): CachedSequence;
  /**
   * The cache for one forward pass, whose ids are (1, tokens): these tokens of each sequence, one sequence behind the
   * other. It is valid for this pass only, within the current tidy.
   * @throws ShapeError if a sequence has not reserved pages for its tokens
   */
  pass(parts: readonly SequenceTokens[]): AttentionCache;
  dispose(): void;
}

/** An empty cache. @param tokens for which it has pages, rounded up to whole pages */
export function pagedCache({ tokens }: { tokens: number }): PagedCache {
  const count = Math.ceil(tokens / PAGE);
  const free = Array.from({ length: count }, (_, i) => count - 1 - i);
  const store: Store = canWriteRows() ? new PoolStore(count * PAGE) : new OwnStore();
  return {
    pages: count,
    get free() {
      return free.length;
    },
    open: () => new Sequence(free, store),
    pass(parts) {
      const sequences = parts.map(({ sequence }) => sequence as Sequence);
      const stretches = parts.map(({ sequence, tokens, length }) => ({ past: sequence.length, tokens, length }));
      for (const [i, { pages }] of sequences.entries()) expectPages(pages.length, endOf(stretches[i] as Stretch));
      const attendPass = store.pass(sequences, stretches);
      return {
        stretches: () => stretches,
        attend: attendPass,
        advance() {
          for (const [i, sequence] of sequences.entries()) sequence.length = endOf(stretches[i] as Stretch);
        },
      };
    },
    dispose: () => store.dispose(),
  };
}

function expectPages(pages: number, tokens: number): void {
  if (tokens <= pages * PAGE) return;
  throw new ShapeError(`pagedCache: ${tokens} tokens need more than the ${pages} pages of the sequence; reserve them`);
}

class Sequence implements CachedSequence {
  length = 0;
  readonly pages: number[] = [];
  readonly #free: number[];
  readonly #store: Store;

  constructor(free: number[], store: Store) {
    this.#free = free;
    this.#store = store;
  }

  reserve(tokens: number): boolean {
    const wanted = Math.ceil(tokens / PAGE) - this.pages.length;
    if (wanted > this.#free.length) return false;
    for (let i = 0; i < wanted; i++) this.pages.push(this.#free.pop() as number);
    return true;
  }

  release(): void {
    this.#free.push(...this.pages.splice(0).reverse());
    this.#store.forget(this);
    this.length = 0;
  }

  /** Rows of the pools with the first tokens. */
  slots(from: number, to: number): Int32Array {
    return Int32Array.from({ length: to - from }, (_, i) => {
      const at = from + i;
      return (this.pages[Math.floor(at / PAGE)] as number) * PAGE + (at % PAGE);
    });
  }
}

type Attend = AttentionCache["attend"];

/** Where keys and values are. */
interface Store {
  /** The attention of one pass. */
  pass(sequences: readonly Sequence[], stretches: readonly Stretch[]): Attend;
  forget(sequence: Sequence): void;
  dispose(): void;
}

interface Pools {
  k: Variable;
  v: Variable;
}

/** One pool of keys and one of values for each block, float32 (rows, key_heads · head_dim), allocated in the first pass. */
class PoolStore implements Store {
  readonly #rows: number;
  readonly #pools = new Map<number, Pools>();

  constructor(rows: number) {
    this.#rows = rows;
  }

  pass(sequences: readonly Sequence[], stretches: readonly Stretch[]): Attend {
    const plan = planOf(sequences, stretches);
    return (block, { q, k, v }, options) => {
      const pools = this.#poolsOf(block, k);
      const rowsOf = (x: Tensor) => reshape(outOfHeads(x), [plan.rows, -1]);
      scatterRows(pools.k, rowsOf(k), plan.slots);
      scatterRows(pools.v, rowsOf(v), plan.slots);
      const single = plan.singles && [attendSingles({ q, pools, options }, plan.singles)];
      const others = plan.others.map((part) => attendStretch({ q, k, v }, { part, pools, options }));
      return joined([...(single ?? []), ...others]);
    };
  }

  #poolsOf(block: number, like: Tensor): Pools {
    const known = this.#pools.get(block);
    if (known) return known;
    const [, heads, , width] = like.shape as [number, number, number, number];
    const empty = () => tidy(() => variable(zeros([this.#rows, heads * width]), false));
    const pools = { k: empty(), v: empty() };
    this.#pools.set(block, pools);
    return pools;
  }

  // The rows of a page are overwritten by the sequence that takes it next.
  forget(): void {}

  dispose(): void {
    for (const { k, v } of this.#pools.values()) {
      k.dispose();
      v.dispose();
    }
    this.#pools.clear();
  }
}

/** What the attention of all blocks needs in one pass. */
interface Plan {
  rows: number;
  /** row of the pools for each token, int32 (rows) */
  slots: Tensor;
  /** the stretches of one token at the start, if the engine attends to pages */
  singles: Singles | undefined;
  others: Part[];
}

interface Singles {
  count: number;
  pages: Tensor;
  lengths: Tensor;
}

/** A stretch that attends by itself. */
interface Part {
  /** its first row in the pass */
  at: number;
  stretch: Stretch;
  /** rows of the pools with all tokens up to its end, int32; undefined if there are none before it */
  slots: Tensor | undefined;
}

function planOf(sequences: readonly Sequence[], stretches: readonly Stretch[]): Plan {
  const longer = stretches.findIndex(({ tokens }) => tokens !== 1);
  const leading = longer < 0 ? stretches.length : longer;
  const count = canAttendPages() ? leading : 0;
  const ends = stretches.map(endOf);
  const slotsOf = (i: number, from: number) => (sequences[i] as Sequence).slots(from, ends[i] as number);
  const slots = stretches.flatMap(({ past }, i) => Array.from(slotsOf(i, past)));
  const others: Part[] = [];
  let at = count;
  for (let i = count; i < stretches.length; i++) {
    const stretch = stretches[i] as Stretch;
    others.push({ at, stretch, slots: stretch.past > 0 ? tensor1d(slotsOf(i, 0), "int32") : undefined });
    at += stretch.tokens;
  }
  const singles = count > 0 ? singlesOf(sequences.slice(0, count), ends) : undefined;
  return { rows: slots.length, slots: tensor1d(slots, "int32"), singles, others };
}

function singlesOf(sequences: readonly Sequence[], ends: readonly number[]): Singles {
  const count = sequences.length;
  const most = Math.max(...sequences.map(({ pages }) => pages.length));
  const pages = new Int32Array(count * most);
  for (const [i, sequence] of sequences.entries()) pages.set(sequence.pages, i * most);
  const lengths = Int32Array.from(ends.slice(0, count));
  return { count, pages: tensor2d(pages, [count, most], "int32"), lengths: tensor1d(lengths, "int32") };
}

interface SinglesOperands {
  q: Tensor;
  pools: Pools;
  options: AttendOptions;
}

function attendSingles({ q, pools, options }: SinglesOperands, { count, pages, lengths }: Singles): Tensor {
  const { scale, window } = options;
  return pagedAttention(
    rowsFrom(q, 0, count),
    { k: pools.k, v: pools.v, pages, lengths },
    { size: PAGE, ...(scale !== undefined && { scale }), ...(window !== undefined && { window }) },
  );
}

interface StretchOperands {
  part: Part;
  pools: Pools;
  options: AttendOptions;
}

function attendStretch({ q, k, v }: QueriesKeysValues, { part, pools, options }: StretchOperands): Tensor {
  const { at, stretch, slots } = part;
  const own = rowsFrom(q, at, stretch.tokens);
  if (!slots) return attend(own, rowsFrom(k, at, stretch.tokens), rowsFrom(v, at, stretch.tokens), options);
  const read = (pool: Variable) => inHeads(reshape(embedding(pool, slots), [1, slots.size, -1]), k.shape[1] as number);
  return attend(own, read(pools.k), read(pools.v), options);
}

/** Rows at … of (1, heads, rows, width). */
function rowsFrom(x: Tensor, at: number, count: number): Tensor {
  const [, heads, rows, width] = x.shape as [number, number, number, number];
  return rows === count ? x : slice(x, [0, 0, at, 0], [1, heads, count, width]);
}

const joined = (parts: readonly Tensor[]): Tensor =>
  parts.length === 1 ? (parts[0] as Tensor) : concat([...parts], 2);

/** Tensors of its own for each sequence. */
class OwnStore implements Store {
  readonly #caches = new Map<Sequence, KeyValueCache>();

  pass(sequences: readonly Sequence[], stretches: readonly Stretch[]): Attend {
    const caches = sequences.map((sequence) => this.#cacheOf(sequence));
    for (const [i, cache] of caches.entries()) cache.advance((stretches[i] as Stretch).past - cache.length);
    return (block, { q, k, v }, options) => {
      let at = 0;
      const parts = stretches.map(({ tokens }, i) => {
        const rows = (x: Tensor) => rowsFrom(x, at, tokens);
        const y = (caches[i] as KeyValueCache).attend(block, { q: rows(q), k: rows(k), v: rows(v) }, options);
        at += tokens;
        return y;
      });
      return joined(parts);
    };
  }

  #cacheOf(sequence: Sequence): KeyValueCache {
    const known = this.#caches.get(sequence) ?? keyValueCache({ capacity: Number.POSITIVE_INFINITY });
    this.#caches.set(sequence, known);
    return known;
  }

  forget(sequence: Sequence): void {
    this.#caches.get(sequence)?.dispose();
    this.#caches.delete(sequence);
  }

  dispose(): void {
    for (const cache of this.#caches.values()) cache.dispose();
    this.#caches.clear();
  }
}
