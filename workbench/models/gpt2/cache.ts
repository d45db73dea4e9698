// Keys and values of the tokens that a model has seen, so that the next token costs one token's work. For one sequence;
// no gradient goes through it.

import { concat, keep, type Tensor } from "@tensorflow/tfjs-core";

export interface KeyValueCache {
  /** tokens in it */
  readonly length: number;
  /** adds keys and values (1, heads, tokens, head_dim) of one block; gives all, the new ones last */
  extend(block: number, k: Tensor, v: Tensor): { k: Tensor; v: Tensor };
  /** counts tokens as seen, when every block has been extended by them */
  advance(tokens: number): void;
  dispose(): void;
}

export function keyValueCache(): KeyValueCache {
  const held = new Map<number, { k: Tensor; v: Tensor }>();
  let length = 0;
  return {
    get length() {
      return length;
    },
    extend(block, k, v) {
      const before = held.get(block);
      const all = before
        ? { k: concat([before.k, k], 2), v: concat([before.v, v], 2) }
        : { k: k.clone(), v: v.clone() };
      before?.k.dispose();
      before?.v.dispose();
      held.set(block, { k: keep(all.k), v: keep(all.v) });
      return all;
    },
    advance(tokens) {
      length += tokens;
    },
    dispose() {
      for (const { k, v } of held.values()) {
        k.dispose();
        v.dispose();
      }
      held.clear();
      length = 0;
    },
  };
}
