// attention as matrix products and a softmax over ATen, for operands that no fused kernel of libtorch accepts. Causal
// attention on the CPU processes blocks of queries, each with only the keys that its queries attend to. The queries of
// the heads that share keys are appended to each other, so that a product with these keys is one matrix product.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import type * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, keepNone } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";

const reshape = aten("reshape");
const narrow = aten("narrow");
const transpose = aten("transpose", "int");
const product = aten("bmm");
const softmax = aten("_softmax");
const softmaxInto = aten("_softmax", "out");
const concatenate = aten("cat");
const newFull = aten("new_full");
const upperTriangle = aten("triu");
const lowerTriangle = aten("tril");
const zerosLike = aten("zeros_like");
const add = aten("add_", "Tensor");
const subtract = aten("sub_", "Tensor");
const multiply = aten("mul_", "Tensor");
const scaled = aten("mul", "Scalar");
const elementProduct = aten("mul", "Tensor");
const sum = aten("sum", "dim_IntList");

// Queries in a block. At 1024 tokens this halves the multiply-adds; with smaller blocks the overhead outweighs the
// gain.
const CAUSAL_BLOCK = 256;

/** A block of consecutive queries, and the consecutive keys that one of them or more attend to. */
interface Block {
  /** the first query */
  start: number;
  queries: number;
  /** the first key */
  firstKey: number;
  keys: number;
}

function blocksOf(
  { q, k }: names.AttentionInputs,
  { causal, window }: names.AttentionAttributes,
  backend: TorchBackend,
): Block[] {
  const [tokens, keyTokens] = [q.shape[2] as number, k.shape[2] as number];
  if (!causal) return [{ start: 0, queries: tokens, firstKey: 0, keys: keyTokens }];
  const size = backend.device === "cpu" ? CAUSAL_BLOCK : tokens;
  const blocks: Block[] = [];
  for (let start = 0; start === 0 || start < tokens; start += size) {
    const queries = Math.min(size, tokens - start);
    const position = start + keyTokens - tokens;
    const firstKey = Math.max(0, position + 1 - window);
    blocks.push({ start, queries, firstKey, keys: position + queries - firstKey });
  }
  return blocks;
}

/** (batch, heads, tokens, width) → (batch · heads, tokens, width) */
function merged(x: TensorInfo): Handle {
  const [batch, heads, tokens, width] = x.shape as [number, number, number, number];
  return reshape(x, [batch * heads, tokens, width]);
}

const rowsOf = (x: Handle, start: number, count: number): Handle => narrow(x, 1, start, count);

const keysOf = (x: Handle, { firstKey, keys }: Block): Handle => narrow(x, 1, firstKey, keys);

/**
 * The queries of a block: (batch · heads, tokens, width) → (batch · key_heads, group · queries, width). No copy if the
 * block has all tokens or a group is one head.
 */
function queriesOf(x: Handle, { start, queries }: Block, { q, k }: names.AttentionInputs, width: number): Handle {
  const [batch, keyHeads] = k.shape as [number, number];
  const group = (q.shape[1] as number) / (keyHeads || 1);
  return reshape(rowsOf(x, start, queries), [batch * keyHeads, group * queries, width]);
}

/** Adds -∞ to the scores (batch · heads, queries, keys) of keys that a query must not attend to. */
function hideInPlace(scores: Handle, { queries, keys }: Block, window: number): void {
  const hidden = (columns: number) => newFull(scores, [queries, columns], Number.NEGATIVE_INFINITY);
  if (queries > 1) {
    // Only the last `queries` keys can come after one of the queries.
    add(narrow(scores, 2, keys - queries, queries), upperTriangle(hidden(queries), 1));
  }
  if (keys > window) {
    // The position of query 0 is column keys - queries.
    add(narrow(scores, 2, 0, keys - window), lowerTriangle(hidden(keys - window), keys - queries - window));
  }
}

/** Attention of `inputs`. Returns y and, if residuals are kept, the probabilities of each block. */
export function composedAttention(
  inputs: names.AttentionInputs,
  attributes: names.AttentionAttributes,
  backend: TorchBackend,
): Handle[] {
  const { q, k, v } = inputs;
  const { causal, scale, window, keepResiduals } = attributes;
  const [batch, heads, tokens, headDim] = q.shape as [number, number, number, number];
  const valueDim = v.shape[3] as number;
  const [qs, ks, vs] = [merged(q), merged(k), merged(v)];
  const weights: Handle[] = [];
  const outputs: Handle[] = [];
  for (const block of blocksOf(inputs, attributes, backend)) {
    const { queries, keys } = block;
    const rows = scaled(queriesOf(qs, block, inputs, headDim), scale);
    const scores = product(rows, transpose(keysOf(ks, block), 1, 2));
    if (causal) hideInPlace(reshape(scores, [batch * heads, queries, keys]), block, window);
    // On the CPU the softmax is computed in place, because the scores are the largest tensor here.
    const p = backend.device === "cpu" ? softmaxInto(scores, -1, false, scores) : softmax(scores, -1, false);
    weights.push(p);
    outputs.push(reshape(product(p, keysOf(vs, block)), [batch * heads, queries, valueDim]));
  }
  const y = outputs.length === 1 ? (outputs[0] as Handle) : concatenate(outputs, 1);
  return [reshape(y, [batch, heads, tokens, valueDim]), ...(keepResiduals ? weights : [])];
}

/**
 * The gradients dq, dk and dv. With P the probabilities and dP = dy vᵀ: dS = P (dP - Σ dy y), as in FlashAttention (Dao
 * et al. 2022, appendix B.2).
 */
export function composedAttentionGradient(
  inputs: names.AttentionGradientInputs,
  attributes: names.AttentionAttributes,
  backend: TorchBackend,
): Handle[] {
  const { q, k, v } = inputs;
  const { scale } = attributes;
  const [batch, heads, , headDim] = q.shape as [number, number, number, number];
  const valueDim = v.shape[3] as number;
  const [qs, ks, vs, outer] = [merged(q), merged(k), merged(v), merged(inputs.dy)];
  const rowSums = sum(elementProduct(outer, merged(inputs.y)), [-1], true);
  const [dq, dk, dv] = [zerosLike(qs), zerosLike(ks), zerosLike(vs)];
  for (const [index, block] of blocksOf(inputs, attributes, backend).entries()) {
    const { start, queries } = block;
    const p = inputs[`residual${index}`] as TensorInfo;
    keepNone(() => {
      const dy = queriesOf(outer, block, inputs, valueDim);
      const dScores = product(dy, transpose(keysOf(vs, block), 1, 2));
      subtract(dScores, queriesOf(rowSums, block, inputs, 1));
      multiply(dScores, p);
      const dRows = reshape(product(dScores, keysOf(ks, block)), [batch * heads, queries, headDim]);
      add(rowsOf(dq, start, queries), dRows, scale);
      const dScoresT = transpose(dScores, 1, 2);
      add(keysOf(dk, block), product(dScoresT, queriesOf(qs, block, inputs, headDim)), scale);
      add(keysOf(dv, block), product(transpose(p, 1, 2), dy));
    });
  }
  return [reshape(dq, q.shape), reshape(dk, k.shape), reshape(dv, v.shape)];
}
