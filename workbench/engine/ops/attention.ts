// Scaled dot-product attention, causal or not, with its gradient. Groups of query heads may share a head of keys and
// values, and a query may see only the latest keys. It has neither dropout nor an additive mask, which the models here
// do not need. The torch backend uses the fused kernels of its libtorch; the compositions serve the others. They append
// the queries of a group to each other, so that a product with the shared keys is one matrix product and no key is
// copied.

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
  sum,
  type Tensor,
  zeros,
} from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";
import {
  ATTENTION,
  ATTENTION_GRADIENT,
  type AttentionAttributes,
  type AttentionGradientInputs,
  type AttentionInputs,
} from "./kernels.ts";
import { differentiable, registerPortable, runKernel } from "./op.ts";
import { expectOperand, expectSetting } from "./operands.ts";

/** Options of `attention`. */
export interface AttentionOptions {
  /**
   * whether a query attends only to keys up to its own position. If there are more keys than queries, as with a
   * key/value cache, the last query is aligned with the last key: query i attends to keys j ≤ i + (key tokens - query
   * tokens). Default false
   */
  causal?: boolean;
  /** factor of q·k; default 1/√head_dim */
  scale?: number;
  /**
   * number of keys that a query attends to at most: those up to its own position, itself included (Beltagy et al. 2020).
   * Only if causal. Default: all
   */
  window?: number;
}

/**
 * Scaled dot-product attention: y = softmax(scale q kᵀ) v, for each head of each batch entry (Vaswani et al. 2017,
 * equation 1). k and v may have fewer heads than q: query head h uses key head ⌊h · key_heads / heads⌋ (grouped-query
 * attention, Ainslie et al. 2023).
 * @param q float32 (batch, heads, tokens, head_dim)
 * @param k float32 (batch, key_heads, key_tokens, head_dim), at least one key token; heads is a multiple of key_heads
 * @param v float32 (batch, key_heads, key_tokens, value_dim)
 * @returns float32 (batch, heads, tokens, value_dim)
 * @throws ShapeError when an operand does not fit, or if `causal` is set and there are fewer keys than queries
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  expectOperand("attention", { q }, { dtype: "float32", shape: ["batch", "heads", "tokens", "head_dim"] });
  const [batch, heads, tokens, headDim] = q.shape as [number, number, number, number];
  expectOperand("attention", { k }, { dtype: "float32", shape: [batch, "key_heads", "key_tokens", headDim] });
  const [, keyHeads, keyTokens] = k.shape as [number, number, number, number];
  expectOperand("attention", { v }, { dtype: "float32", shape: [batch, keyHeads, keyTokens, "value_dim"] });
  const { causal = false, scale = 1 / Math.sqrt(headDim), window = Number.POSITIVE_INFINITY } = options;
  checkHeads(heads, keyHeads);
  checkKeys({ tokens, keyTokens, causal });
  expectSetting("attention", { scale }, "a finite number", Number.isFinite(scale));
  const isWindow = window === Number.POSITIVE_INFINITY || (Number.isInteger(window) && window > 0);
  expectSetting("attention", { window }, "a positive integer", isWindow);
  if (!causal && window !== Number.POSITIVE_INFINITY) {
    throw new ShapeError("attention: window needs causal: true, because it ends at the position of the query");
  }

  const inputs = { q, k, v };
  return differentiable({
    name: "attention",
    inputs,
    forward: (recording) => {
      const attributes = { causal, scale, window, keepResiduals: recording };
      const [value, ...residuals] = runKernel(ATTENTION, inputs, attributes) as [Tensor, ...Tensor[]];
      return { value, saved: [q, k, v, value, ...residuals] };
    },
    backward: (dy, saved) => {
      const gradients = attentionGradient(dy, saved, { causal, scale, window });
      return { q: () => gradients[0], k: () => gradients[1], v: () => gradients[2] };
    },
  });
}

function checkHeads(heads: number, keyHeads: number): void {
  if (keyHeads === 0 ? heads !== 0 : heads % keyHeads !== 0) {
    throw new ShapeError(
      `attention: heads of q must be a multiple of the heads of k and v, got ${heads} and ${keyHeads}`,
    );
  }
}

function checkKeys({ tokens, keyTokens, causal }: { tokens: number; keyTokens: number; causal: boolean }): void {
  if (keyTokens === 0 && tokens > 0) {
    throw new ShapeError("attention: k must have at least one token to attend to, got 0");
  }
  if (causal && keyTokens < tokens) {
    throw new ShapeError(
      `attention: causal needs at least as many key tokens as query tokens, got ${keyTokens} for ${tokens}`,
    );
  }
}

function attentionGradient(
  dy: Tensor,
  saved: Tensor[],
  { causal, scale, window }: Required<AttentionOptions>,
): [Tensor, Tensor, Tensor] {
  const [q, k, v, y, ...residuals] = saved as [Tensor, Tensor, Tensor, Tensor, ...Tensor[]];
  const named = Object.fromEntries(residuals.map((residual, i) => [`residual${i}`, residual]));
  const attributes = { causal, scale, window, keepResiduals: true };
  return runKernel(ATTENTION_GRADIENT, { dy, q, k, v, y, ...named }, attributes) as [Tensor, Tensor, Tensor];
}

// Added to the scores of keys that a query must not attend to. It is finite because exp on some backends does not
// accept -∞, and so large that adding a score does not change it.
const HIDDEN = -1e30;

// (tokens, key_tokens): 0 where query i may attend to key j, HIDDEN elsewhere
function causalMask(tokens: number, keyTokens: number, window: number): Tensor {
  const keys = range(0, keyTokens, 1, "float32");
  const positions = add(reshape(range(0, tokens, 1, "float32"), [tokens, 1]), keyTokens - tokens);
  const later = greater(keys, positions);
  const hidden = window < keyTokens ? logicalOr(later, lessEqual(keys, sub(positions, window))) : later;
  return mul(cast(hidden, "float32"), HIDDEN);
}

/** (batch, heads, tokens, width) → (batch, key_heads, group · tokens, width): the rows of the heads that share keys. */
function inGroups(x: Tensor, keyHeads: number): Tensor {
  const [batch, heads, tokens, width] = x.shape as [number, number, number, number];
  return heads === keyHeads ? x : reshape(x, [batch, keyHeads, (heads / keyHeads) * tokens, width]);
}

// The residual is the probabilities, (batch, key_heads, group · tokens, key_tokens).
registerPortable<AttentionInputs, AttentionAttributes>(
  ATTENTION,
  ({ q, k, v }, { causal, scale, window, keepResiduals }) => {
    const [batch, heads, tokens] = q.shape as [number, number, number];
    const [, keyHeads, keyTokens, valueDim] = v.shape as [number, number, number, number];
    const outputShape = [batch, heads, tokens, valueDim];
    if (q.size === 0 || v.size === 0) {
      return zeros(outputShape);
    }
    const scores = matMul(mul(inGroups(q, keyHeads), scale), k, false, true);
    // A single query comes after all keys, so without a window no key is hidden.
    const masked = causal && (tokens > 1 || window < keyTokens);
    const probabilities = softmax(masked ? hide(scores, { heads, tokens, window }) : scores);
    const y = reshape(matMul(probabilities, v), outputShape);
    return keepResiduals ? [y, probabilities] : y;
  },
);

function hide(scores: Tensor, { heads, tokens, window }: { heads: number; tokens: number; window: number }): Tensor {
  const keyTokens = scores.shape[3] as number;
  const split = reshape(scores, [scores.shape[0] as number, heads, tokens, keyTokens]);
  return reshape(add(split, causalMask(tokens, keyTokens, window)), scores.shape);
}

// With P the probabilities and dP = dy vᵀ: dS = P (dP - Σ dy y), as in FlashAttention (Dao et al. 2022, appendix B.2).
registerPortable<AttentionGradientInputs, AttentionAttributes>(
  ATTENTION_GRADIENT,
  ({ dy, q, k, v, y, residual0: probabilities }, { scale }) => {
    if (probabilities === undefined) {
      return [zeros(q.shape), zeros(k.shape), zeros(v.shape)];
    }
    const keyHeads = k.shape[1] as number;
    const [queries, outer] = [inGroups(q, keyHeads), inGroups(dy, keyHeads)];
    const rowSums = sum(mul(outer, inGroups(y, keyHeads)), -1, true);
    const dProbabilities = matMul(outer, v, false, true);
    const dScores = mul(mul(probabilities, sub(dProbabilities, rowSums)), scale);
    return [reshape(matMul(dScores, k), q.shape), matMul(dScores, queries, true), matMul(probabilities, outer, true)];
  },
);
