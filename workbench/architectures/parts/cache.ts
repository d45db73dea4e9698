// Key/value cache: the keys and values of the tokens that a model has processed, so that each further token needs the
// forward pass of one token only. It holds one sequence and passes no gradient. On engines that can write into a
// tensor, memory is allocated for twice the tokens whenever it is full. On other engines the tensors are concatenated for
// each token; this copies as much as attention reads.

import { concat, keep, slice, type Tensor, tidy, type Variable, variable, zeros } from "@tensorflow/tfjs-core";
import { ShapeError } from "../../engine/core/errors.ts";
import { canWriteRows, writeRows } from "../../engine/ops/index.ts";
import { type AttendOptions, attend } from "./attention.ts";
import type { Stretch } from "./stretches.ts";

/** Keys and values of one block, float32. */
export interface KeysAndValues {
  /** (1, heads, tokens, head_dim) */
  k: Tensor;
  v: Tensor;
}

/** Queries, keys and values of one block, float32. */
export interface QueriesKeysValues extends KeysAndValues {
  /** (1, heads, tokens, head_dim) */
  q: Tensor;
}

/** What a forward pass needs of the tokens that precede its own. */
export interface AttentionCache {
  /** The stretches of which the tokens of the pass consist, in their order. */
  stretches(tokens: number): readonly Stretch[];
  /**
   * Adds the keys and values of the tokens for one block, and computes their causal attention, as `attend` does.
   * @returns float32 (1, heads, tokens, head_dim), valid until the current tidy ends
   */
  attend(block: number, operands: QueriesKeysValues, options: AttendOptions): Tensor;
  /** Counts the tokens as processed. It is called after all blocks. */
  advance(tokens: number): void;
}

/** The keys and values of the tokens of one sequence. Must be disposed of. */
export interface KeyValueCache extends AttentionCache {
  /** number of tokens in the cache */
  readonly length: number;
  /**
   * Adds the keys and values of new tokens for one block.
   * @returns keys and values of all tokens, the new ones last. They are valid until the current tidy ends
   * @throws ShapeError if the batch is not 1, or there are more tokens than the capacity
   */
  extend(block: number, added: KeysAndValues): KeysAndValues;
  /** Drops all tokens but the first `length`. @param length at most the number of tokens in the cache */
  truncate(length: number): void;
  /** Drops all tokens. The cache can be used again. */
  dispose(): void;
}

export interface CacheOptions {
  /** maximum number of tokens */
  capacity: number;
}

/** An empty cache for the keys and values of a model. */
export function keyValueCache({ capacity }: CacheOptions): KeyValueCache {
  const store: Store = canWriteRows() ? new BufferStore(capacity) : new GrowingStore();
  let length = 0;
  return {
    get length() {
      return length;
    },
    extend(block, added) {
      const tokens = added.k.shape[2] as number;
      if (added.k.shape[0] !== 1 || length + tokens > capacity) {
        const asked = `${added.k.shape[0]} × ${length + tokens}`;
        throw new ShapeError(`keyValueCache: there is room for 1 × ${capacity} tokens, got ${asked}`);
      }
      return store.extend(block, added, length);
    },
    stretches: (tokens) => [{ past: length, tokens }],
    attend(block, { q, ...added }, options) {
      const { k, v } = this.extend(block, added);
      return attend(q, k, v, options);
    },
    advance(tokens) {
      length += tokens;
    },
    truncate(kept) {
      store.truncate(kept);
      length = kept;
    },
    dispose() {
      store.dispose();
      length = 0;
    },
  };
}

interface Store {
  extend(block: number, added: KeysAndValues, length: number): KeysAndValues;
  truncate(length: number): void;
  dispose(): void;
}

/** tokens for which memory is allocated first */
const FIRST_ROOM = 256;

interface Buffers {
  k: Variable;
  v: Variable;
}

class BufferStore implements Store {
  private readonly capacity: number;
  private readonly buffers = new Map<number, Buffers>();

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  extend(block: number, { k, v }: KeysAndValues, length: number): KeysAndValues {
    const before = this.buffers.get(block);
    const tokens = length + (k.shape[2] as number);
    const held = before && tokens <= (before.k.shape[2] as number) ? before : this.larger({ k, v }, tokens, before);
    this.buffers.set(block, held);
    return { k: written(held.k, k, length), v: written(held.v, v, length) };
  }

  // The rows after the last token are overwritten later.
  truncate(): void {}

  dispose(): void {
    for (const buffers of this.buffers.values()) disposeOf(buffers);
    this.buffers.clear();
  }

  /** Buffers for at least so many tokens, with the content of those before, which are disposed of. */
  private larger(like: KeysAndValues, tokens: number, before: Buffers | undefined): Buffers {
    const doubled = 2 * (before?.k.shape[2] ?? 0);
    const room = Math.min(this.capacity, Math.max(tokens, doubled, FIRST_ROOM));
    const buffers = { k: emptyBuffer(like.k, room), v: emptyBuffer(like.v, room) };
    if (before) {
      writeRows(buffers.k, before.k, 0);
      writeRows(buffers.v, before.v, 0);
      disposeOf(before);
    }
    return buffers;
  }
}

function emptyBuffer({ shape }: Tensor, room: number): Variable {
  const [batch, heads, , width] = shape as [number, number, number, number];
  return tidy(() => variable(zeros([batch, heads, room, width]), false));
}

function written(buffer: Variable, rows: Tensor, at: number): Tensor {
  writeRows(buffer, rows, at);
  const [batch, heads, , width] = buffer.shape as [number, number, number, number];
  return slice(buffer as Tensor, [0, 0, 0, 0], [batch, heads, at + (rows.shape[2] as number), width]);
}

class GrowingStore implements Store {
  private readonly held = new Map<number, KeysAndValues>();

  extend(block: number, { k, v }: KeysAndValues): KeysAndValues {
    const before = this.held.get(block);
    const all = before ? { k: concat([before.k, k], 2), v: concat([before.v, v], 2) } : { k: k.clone(), v: v.clone() };
    if (before) disposeOf(before);
    // The caller's tidy may dispose of the returned tensors, so the cache keeps clones, which share their memory.
    this.held.set(block, { k: keep(all.k.clone()), v: keep(all.v.clone()) });
    return all;
  }

  truncate(length: number): void {
    for (const [block, before] of this.held) {
      const [batch, heads, tokens, width] = before.k.shape as [number, number, number, number];
      if (tokens === length) continue;
      const first = (x: Tensor) => keep(slice(x, [0, 0, 0, 0], [batch, heads, length, width]));
      this.held.set(block, { k: first(before.k), v: first(before.v) });
      disposeOf(before);
    }
  }

  dispose(): void {
    for (const held of this.held.values()) disposeOf(held);
    this.held.clear();
  }
}

function disposeOf({ k, v }: KeysAndValues): void {
  k.dispose();
  v.dispose();
}
