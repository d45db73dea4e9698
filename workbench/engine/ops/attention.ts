// Scaled dot-product attention, causal or not, with its gradient. It has neither dropout nor an additive mask, which
// the models here do not need. The torch backend uses the fused kernels of its libtorch; the compositions serve the
// others.

import {
  add,
  cast,
  greater,
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
}

/**
 * Scaled dot-product attention: y = softmax(scale q kᵀ) v, for each head of each batch entry (Vaswani et al. 2017,
 * equation 1).
 * @param q float32 (batch, heads, tokens, head_dim)
 * @param k float32 (batch, heads, key_tokens, head_dim), at least one key token
 * @param v float32 (batch, heads, key_tokens, value_dim)
 * @returns float32 (batch, heads, tokens, value_dim)
 * @throws ShapeError when an operand does not fit, or if `causal` is set and there are fewer keys than queries
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  expectOperand("attention", { q }, { dtype: "float32", shape: ["batch", "heads", "tokens", "head_dim"] });
  const [batch, heads, tokens, headDim] = q.shape as [number, number, number, number];
  expectOperand("attention", { k }, { dtype: "float32", shape: [batch, heads, "key_tokens", headDim] });
  const keyTokens = k.shape[2] as number;
  expectOperand("attention", { v }, { dtype: "float32", shape: [batch, heads, keyTokens, "value_dim"] });
  const { causal = false, scale = 1 / Math.sqrt(headDim) } = options;
  checkKeys({ tokens, keyTokens, causal });
  expectSetting("attention", { scale }, "a finite number", Number.isFinite(scale));

  const inputs = { q, k, v };
  return differentiable({
    name: "attention",
    inputs,
    forward: (recording) => {
      const attributes = { causal, scale, keepResiduals: recording };
      const [value, ...residuals] = runKernel(ATTENTION, inputs, attributes) as [Tensor, ...Tensor[]];
      return { value, saved: [q, k, v, value, ...residuals] };
    },
    backward: (dy, saved) => {
      const gradients = attentionGradient(dy, saved, { causal, scale });
      return { q: () => gradients[0], k: () => gradients[1], v: () => gradients[2] };
    },
  });
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
  { causal, scale }: Required<AttentionOptions>,
): [Tensor, Tensor, Tensor] {
  const [q, k, v, y, ...residuals] = saved as [Tensor, Tensor, Tensor, Tensor, ...Tensor[]];
  const named = Object.fromEntries(residuals.map((residual, i) => [`residual${i}`, residual]));
  const attributes = { causal, scale, keepResiduals: true };
  return runKernel(ATTENTION_GRADIENT, { dy, q, k, v, y, ...named }, attributes) as [Tensor, Tensor, Tensor];
}

// Added to the scores of keys that a query must not attend to. It is finite because exp on some backends does not
// accept -∞, and so large that adding a score does not change it.
const HIDDEN = -1e30;

// (tokens, key_tokens): 0 where query i may attend to key j, HIDDEN elsewhere
function causalMask(tokens: number, keyTokens: number): Tensor {
  const lastSeen = add(reshape(range(0, tokens, 1, "float32"), [tokens, 1]), keyTokens - tokens);
  return mul(cast(greater(range(0, keyTokens, 1, "float32"), lastSeen), "float32"), HIDDEN);
}

// The residual is the probabilities, (batch, heads, tokens, key_tokens).
registerPortable<AttentionInputs, AttentionAttributes>(ATTENTION, ({ q, k, v }, { causal, scale, keepResiduals }) => {
  const tokens = q.shape[2] as number;
  const keyTokens = k.shape[2] as number;
  if (q.size === 0 || v.size === 0) {
    return zeros([...q.shape.slice(0, 3), v.shape[3] as number]);
  }
  const scores = matMul(mul(q, scale), k, false, true);
  // A single query comes after all keys, so no key is hidden.
  const visible = causal && tokens > 1 ? add(scores, causalMask(tokens, keyTokens)) : scores;
  const probabilities = softmax(visible);
  const y = matMul(probabilities, v);
  return keepResiduals ? [y, probabilities] : y;
});

// With P the probabilities and dP = dy vᵀ: dS = P (dP - Σ dy y), as in FlashAttention (Dao et al. 2022, appendix B.2).
registerPortable<AttentionGradientInputs, AttentionAttributes>(
  ATTENTION_GRADIENT,
  ({ dy, q, k, v, y, residual0: probabilities }, { scale }) => {
    if (probabilities === undefined) {
      return [zeros(q.shape), zeros(k.shape), zeros(v.shape)];
    }
    const rowSums = sum(mul(dy, y), -1, true);
    const dProbabilities = matMul(dy, v, false, true);
    const dScores = mul(mul(probabilities, sub(dProbabilities, rowSums)), scale);
    return [matMul(dScores, k), matMul(dScores, q, true), matMul(probabilities, dy, true)];
  },
);
