// Key/value cache: the keys and values of the tokens that a model has processed, so that each further token needs the
// forward pass of one token only. It holds one sequence and passes no gradient. On engines that can write into a
// tensor, memory for all tokens is allocated once. On other engines the tensors are concatenated for each token; this
// copies as much as attention reads.

import { concat, keep, slice, type Tensor, tidy, type Variable, variable, zeros } from "@tensorflow/tfjs-core";
import { ShapeError } from "../../engine/core/errors.ts";
import { canWriteRows, writeRows } from "../../engine/ops/index.ts";

/** Keys and values of one block, float32. */
export interface KeysAndValues {
  /** (1, heads, tokens, head_dim) */
  k: Tensor;
  v: Tensor;
}

/** The keys and values of the tokens of one sequence. Must be disposed of. */
export interface KeyValueCache {
  /** number of tokens in the cache */
  readonly length: number;
  /**
   * Adds the keys and values of new tokens for one block.
   * @returns keys and values of all tokens, the new ones last. They are valid until the current tidy ends
   * @throws ShapeError if the batch is not 1, or there are more tokens than the capacity
   */
  extend(block: number, added: KeysAndValues): KeysAndValues;
  /** Increases `length`. It is called after all blocks have been extended by these tokens. */
  advance(tokens: number): void;
  dispose(): void;
}

export interface CacheOptions {
  /** maximum number of tokens */
  capacity: number;
}

/** An empty cache for the keys and values of a model. */
export function keyValueCache({ capacity }: CacheOptions): KeyValueCache {
  const store: Store = canWriteRows() ? new FixedStore(capacity) : new GrowingStore();
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
    advance(tokens) {
      length += tokens;
    },
    dispose() {
      store.dispose();
      length = 0;
    },
  };
}

interface Store {
  extend(block: number, added: KeysAndValues, length: number): KeysAndValues;
  dispose(): void;
}

class FixedStore implements Store {
  private readonly capacity: number;
  private readonly buffers = new Map<number, { k: Variable; v: Variable }>();

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  extend(block: number, { k, v }: KeysAndValues, length: number): KeysAndValues {
    const held = this.buffers.get(block) ?? { k: this.room(k), v: this.room(v) };
    this.buffers.set(block, held);
    return { k: written(held.k, k, length), v: written(held.v, v, length) };
  }

  dispose(): void {
    for (const { k, v } of this.buffers.values()) {
      k.dispose();
      v.dispose();
    }
    this.buffers.clear();
  }

  private room({ shape }: Tensor): Variable {
    const [batch, heads, , width] = shape as [number, number, number, number];
    return tidy(() => variable(zeros([batch, heads, this.capacity, width]), false));
  }
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

  dispose(): void {
    for (const held of this.held.values()) disposeOf(held);
    this.held.clear();
  }
}

function disposeOf({ k, v }: KeysAndValues): void {
  k.dispose();
  v.dispose();
}
