// Multi-head attention: splitting into heads, and the fused operation. The fused operation has no dropout of attention
// weights; if training uses such dropout, attention is computed as separate products and a softmax.

import {
  add,
  cast,
  greater,
  lessEqual,
  logicalOr,
  matMul,
  mul,
  range,
  reshape,
  softmax,
  sub,
  type Tensor,
  transpose,
} from "@tensorflow/tfjs-core";
import { attention } from "../../engine/ops/index.ts";
import type { DropAt } from "./dropout.ts";

/** Options of `attend`. */
export interface AttendOptions {
  /** default 1/√head_dim */
  scale?: number;
  /** whether a query attends only to keys up to its own position. Default false */
  causal?: boolean;
  /**
   * number of keys, up to its own position and with it, to which a query attends at most; only if causal. Default: all
   */
  window?: number | undefined;
  drop: DropAt;
  /** dropout rate of attention weights */
  rate: number;
}

/**
 * Scaled dot-product attention: softmax(scale · q kᵀ) v. Keys and values may have fewer heads, each of which serves a
 * group of consecutive heads of queries.
 * @param q float32 (batch, heads, tokens, head_dim)
 * @param k float32 (batch, key_heads, key_tokens, head_dim). If causal, the last key has the position of the last query
 * @param v float32 (batch, key_heads, key_tokens, head_dim)
 * @returns float32 (batch, heads, tokens, head_dim)
 */
export function attend(q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
  const { scale = 1 / Math.sqrt(q.shape[3] as number), causal = false, window, drop, rate } = options;
  if (!drop.active || rate === 0) {
    return attention(q, k, v, { causal, scale, ...(window !== undefined && { window }) });
  }
  const [batch, heads, tokens, width] = q.shape as [number, number, number, number];
  const [, keyHeads, keyTokens] = k.shape as [number, number, number];
  // The rows of the queries that share keys follow each other, so that keys need not be repeated.
  const group = [batch, keyHeads, (heads / keyHeads) * tokens];
  const scores = reshape(matMul(reshape(mul(q, scale), [...group, width]), k, false, true), [
    batch,
    heads,
    tokens,
    keyTokens,
  ]);
  const weights = drop(softmax(causal ? add(scores, causalMask(tokens, { keyTokens, window })) : scores), rate);
  return reshape(matMul(reshape(weights, [...group, keyTokens]), v), q.shape);
}

/**
 * The causal mask, float32 (tokens, key_tokens): 0 if the query attends to the key, else -1e30, which makes the weight
 * 0.
 */
function causalMask(tokens: number, { keyTokens, window }: { keyTokens: number; window: number | undefined }): Tensor {
  const last = add(reshape(range(0, tokens, 1, "float32"), [tokens, 1]), keyTokens - tokens);
  const keys = range(0, keyTokens, 1, "float32");
  const later = greater(keys, last);
  const hidden = window === undefined ? later : logicalOr(later, lessEqual(keys, sub(last, window)));
  return mul(cast(hidden, "float32"), -1e30);
}

/** Splits into heads: (batch, tokens, heads · head_dim) → (batch, heads, tokens, head_dim). */
export function inHeads(x: Tensor, heads: number): Tensor {
  const [batch, tokens, width] = x.shape as [number, number, number];
  // The axes of a single token, as in generation, are in order already.
  if (tokens === 1) return reshape(x, [batch, heads, 1, width / heads]);
  return transpose(reshape(x, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
}

/** The inverse of `inHeads`: (batch, heads, tokens, head_dim) → (batch, tokens, heads · head_dim). */
export function outOfHeads(x: Tensor): Tensor {
  const [batch, heads, tokens, width] = x.shape as [number, number, number, number];
  if (tokens === 1) return reshape(x, [batch, 1, heads * width]);
  return reshape(transpose(x, [0, 2, 1, 3]), [batch, tokens, heads * width]);
}
