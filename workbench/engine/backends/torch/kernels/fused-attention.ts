// attention over ATen. If libtorch has a fused kernel that accepts the operands, it is used, because fused kernels do
// not store the scores of all pairs of queries and keys. They are flash attention on the CPU (from libtorch 2.2) and on
// CUDA in half precision, and the memory-efficient kernel on CUDA (both from 2.1). libtorch chooses the kernel; an
// operator that is missing or has another signature than the one below is not used. Otherwise attention is computed by
// matrix products and a softmax. Causal attention on the CPU then processes blocks of queries, each with only the keys
// that its queries attend to.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, enterArena, hasOperator, leaveArena, openAddon } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import { fusedKernel, half, type KernelTable } from "../register.ts";

const reshape = aten("reshape");
const narrow = aten("narrow");
const transpose = aten("transpose", "int");
const product = aten("bmm");
const softmax = aten("_softmax");
const softmaxInto = aten("_softmax", "out");
const concatenate = aten("cat");
const newFull = aten("new_full");
const upperTriangle = aten("triu");
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

/** A block of consecutive queries. */
interface Block {
  /** the first query */
  start: number;
  queries: number;
  /** number of keys, from the first on, that these queries attend to */
  keys: number;
}

function blocksOf(q: TensorInfo, k: TensorInfo, causal: boolean, backend: TorchBackend): Block[] {
  const [tokens, keyTokens] = [q.shape[2] as number, k.shape[2] as number];
  if (!causal || backend.device !== "cpu" || tokens <= CAUSAL_BLOCK) {
    return [{ start: 0, queries: tokens, keys: keyTokens }];
  }
  const blocks: Block[] = [];
  for (let start = 0; start < tokens; start += CAUSAL_BLOCK) {
    const queries = Math.min(CAUSAL_BLOCK, tokens - start);
    blocks.push({ start, queries, keys: start + queries + keyTokens - tokens });
  }
  return blocks;
}

/** (batch, heads, tokens, width) → (batch · heads, tokens, width) */
function merged(x: TensorInfo): Handle {
  const [batch, heads, tokens, width] = x.shape as [number, number, number, number];
  return reshape(x, [batch * heads, tokens, width]);
}

const rowsOf = (x: Handle, start: number, count: number): Handle => narrow(x, 1, start, count);

/** Runs `body` and frees the tensors that it creates. Its changes in place remain. */
function scoped(body: () => void): void {
  const mark = enterArena();
  try {
    body();
  } finally {
    leaveArena(mark, undefined);
  }
}

/** The scores of a block, scale q kᵀ; those of keys after a query are -∞ if attention is causal. */
function scoresOf(q: Handle, k: Handle, { queries, keys }: Block, attributes: names.AttentionAttributes): Handle {
  const scores = product(scaled(q, attributes.scale), transpose(k, 1, 2));
  if (attributes.causal && queries > 1) {
    // Only the last `queries` keys can come after one of the queries.
    const hidden = upperTriangle(newFull(scores, [queries, queries], Number.NEGATIVE_INFINITY), 1);
    add(narrow(scores, 2, keys - queries, queries), hidden);
  }
  return scores;
}

function forward(
  { q, k, v }: names.AttentionInputs,
  attributes: names.AttentionAttributes,
  backend: TorchBackend,
): Handle[] {
  const [qs, ks, vs] = [merged(q), merged(k), merged(v)];
  const weights: Handle[] = [];
  const outputs: Handle[] = [];
  for (const block of blocksOf(q, k, attributes.causal, backend)) {
    const { start, queries, keys } = block;
    const scores = scoresOf(rowsOf(qs, start, queries), rowsOf(ks, 0, keys), block, attributes);
    // On the CPU the softmax is computed in place, because the scores are the largest tensor here.
    const p = backend.device === "cpu" ? softmaxInto(scores, -1, false, scores) : softmax(scores, -1, false);
    weights.push(p);
    outputs.push(product(p, rowsOf(vs, 0, keys)));
  }
  const y = outputs.length === 1 ? (outputs[0] as Handle) : concatenate(outputs, 1);
  return [reshape(y, [...q.shape.slice(0, 3), v.shape[3] as number]), ...(attributes.keepResiduals ? weights : [])];
}

// With P the probabilities and dP = dy vᵀ: dS = P (dP - Σ dy y), as in FlashAttention (Dao et al. 2022, appendix B.2).
function backward(
  inputs: names.AttentionGradientInputs,
  { causal, scale }: names.AttentionAttributes,
  backend: TorchBackend,
): Handle[] {
  const { q, k, v } = inputs;
  const [qs, ks, vs, outer] = [merged(q), merged(k), merged(v), merged(inputs.dy)];
  const rowSums = sum(elementProduct(outer, merged(inputs.y)), [-1], true);
  const [dq, dk, dv] = [zerosLike(qs), zerosLike(ks), zerosLike(vs)];
  for (const [index, { start, queries, keys }] of blocksOf(q, k, causal, backend).entries()) {
    const p = inputs[`residual${index}`] as TensorInfo;
    scoped(() => {
      const dy = rowsOf(outer, start, queries);
      const dScores = product(dy, transpose(rowsOf(vs, 0, keys), 1, 2));
      subtract(dScores, rowsOf(rowSums, start, queries));
      multiply(dScores, p);
      add(rowsOf(dq, start, queries), product(dScores, rowsOf(ks, 0, keys)), scale);
      add(rowsOf(dk, 0, keys), product(transpose(dScores, 1, 2), rowsOf(qs, start, queries)), scale);
      add(rowsOf(dv, 0, keys), product(transpose(p, 1, 2), dy));
    });
  }
  return [reshape(dq, q.shape), reshape(dk, k.shape), reshape(dv, v.shape)];
}

/** A fused attention kernel of libtorch. */
interface AttentionKernel {
  /** returns y and, if residuals are kept, the log-sum-exp of each query */
  forward(inputs: names.AttentionInputs, attributes: names.AttentionAttributes, backend: TorchBackend): Handle[];
  /** returns dq, dk, dv */
  backward(
    inputs: names.AttentionGradientInputs,
    attributes: names.AttentionAttributes,
    backend: TorchBackend,
  ): Handle[];
}

const QKV = ["query", "key", "value"];
const SIGNATURES = {
  _fused_sdp_choice: [...QKV, "attn_mask", "dropout_p", "is_causal", "scale"],
  _scaled_dot_product_flash_attention_for_cpu: [...QKV, "dropout_p", "is_causal", "attn_mask", "scale"],
  _scaled_dot_product_flash_attention: [...QKV, "dropout_p", "is_causal", "return_debug_mask", "scale"],
  _scaled_dot_product_efficient_attention: [
    ...QKV,
    "attn_bias",
    "compute_log_sumexp",
    "dropout_p",
    "is_causal",
    "scale",
  ],
} as const;

const choice = aten("_fused_sdp_choice");
const cpuForward = aten<Handle[]>("_scaled_dot_product_flash_attention_for_cpu");
const cpuBackward = aten<Handle[]>("_scaled_dot_product_flash_attention_for_cpu_backward");
const flashForward = aten<Handle[]>("_scaled_dot_product_flash_attention");
const flashBackward = aten<Handle[]>("_scaled_dot_product_flash_attention_backward");
const efficientForward = aten<Handle[]>("_scaled_dot_product_efficient_attention");
const efficientBackward = aten<Handle[]>("_scaled_dot_product_efficient_attention_backward");
const zero = aten("scalar_tensor");

const known = new Map<string, boolean>();

/** Whether the operator exists and its arguments begin as this file passes them. */
function fits(name: keyof typeof SIGNATURES): boolean {
  let fit = known.get(name);
  if (fit === undefined) {
    fit = hasOperator(name) && SIGNATURES[name].every((argument, at) => argumentsOf(name)[at] === argument);
    known.set(name, fit);
  }
  return fit;
}

function argumentsOf(name: string): string[] {
  const schema = openAddon().schema(`aten::${name}`, "");
  const list = schema.slice(schema.indexOf("(") + 1, schema.lastIndexOf(") ->"));
  const declared = list.split(", ").filter((argument) => argument !== "*");
  return declared.map((argument) => argument.split(" ").at(-1)?.split("=")[0] ?? "");
}

/** Whether a causal mask is needed. A single query attends to every key, so it needs none. */
const causalHere = ({ q }: names.AttentionInputs, causal: boolean): boolean => causal && q.shape[2] !== 1;

// at::SDPBackend
const FLASH = 1;
const EFFICIENT = 2;
const CUDNN = 3;

/**
 * The fused kernel for these operands; undefined if none accepts them. The forward and the backward pass get the same
 * kernel.
 */
function chooseKernel(
  inputs: names.AttentionInputs,
  { causal, scale }: names.AttentionAttributes,
  backend: TorchBackend,
): AttentionKernel | undefined {
  const { q, k, v } = inputs;
  const [tokens, headDim] = [q.shape[2] as number, q.shape[3] as number];
  // libtorch aligns a causal mask with the first key, this op with the last key. They agree if there are as many
  // queries as keys.
  const aligned = !causalHere(inputs, causal) || tokens === k.shape[2];
  if (!aligned || headDim !== v.shape[3] || q.shape.includes(0) || !fits("_fused_sdp_choice")) return undefined;
  const chosen = choice(...queryKeyValue(inputs, backend), null, 0, causalHere(inputs, causal), scale);
  if (backend.device === "cpu") {
    return chosen === FLASH && fits("_scaled_dot_product_flash_attention_for_cpu") ? cpuFlash : undefined;
  }
  // Flash attention accepts all operands that cuDNN accepts, except widths that need padding.
  if ((chosen === FLASH || chosen === CUDNN) && headDim % 8 === 0 && fits("_scaled_dot_product_flash_attention")) {
    return flash;
  }
  return chosen === EFFICIENT && fits("_scaled_dot_product_efficient_attention") ? efficient : undefined;
}

type Operand = TensorInfo | Handle;

const queryKeyValue = ({ q, k, v }: names.AttentionInputs, backend: TorchBackend): [Operand, Operand, Operand] => [
  half(q, backend),
  half(k, backend),
  half(v, backend),
];

const kept = (y: Handle | undefined, logSumExp: Handle | undefined, keep: boolean): Handle[] =>
  [y, ...(keep ? [logSumExp] : [])] as Handle[];

const cpuFlash: AttentionKernel = {
  forward(inputs, { causal, scale, keepResiduals }, backend) {
    const isCausal = causalHere(inputs, causal);
    const [y, logSumExp] = cpuForward(...queryKeyValue(inputs, backend), 0, isCausal, null, scale);
    return kept(y, logSumExp, keepResiduals);
  },
  backward(inputs, { causal, scale }, backend) {
    const [dy, y] = [half(inputs.dy, backend), half(inputs.y, backend)];
    const isCausal = causalHere(inputs, causal);
    const operands = queryKeyValue(inputs, backend);
    return cpuBackward(dy, ...operands, y, inputs.residual0, 0, isCausal, null, scale);
  },
};

const flash: AttentionKernel = {
  forward(inputs, { causal, scale, keepResiduals }, backend) {
    const isCausal = causalHere(inputs, causal);
    const [y, logSumExp] = flashForward(...queryKeyValue(inputs, backend), 0, isCausal, false, scale);
    return kept(y, logSumExp, keepResiduals);
  },
  backward(inputs, { causal, scale }, backend) {
    const [dy, y] = [half(inputs.dy, backend), half(inputs.y, backend)];
    const isCausal = causalHere(inputs, causal);
    const operands = queryKeyValue(inputs, backend);
    const lengths = [inputs.q.shape[2] as number, inputs.k.shape[2] as number] as const;
    // There are no cumulative lengths, because all sequences have equal length, and no generator state, because there
    // is no dropout.
    const none = zero(0, "int64");
    const state = [none, none] as const;
    return flashBackward(dy, ...operands, y, inputs.residual0, null, null, ...lengths, 0, isCausal, ...state, scale);
  },
};

const efficient: AttentionKernel = {
  forward(inputs, { causal, scale, keepResiduals }, backend) {
    const isCausal = causalHere(inputs, causal);
    const [y, logSumExp] = efficientForward(...queryKeyValue(inputs, backend), null, keepResiduals, 0, isCausal, scale);
    return kept(y, logSumExp, keepResiduals);
  },
  backward(inputs, { causal, scale }, backend) {
    const [dy, y] = [half(inputs.dy, backend), half(inputs.y, backend)];
    const isCausal = causalHere(inputs, causal);
    const operands = queryKeyValue(inputs, backend);
    const none = zero(0, "int64");
    const state = [none, none] as const;
    // The fourth gradient is that of the bias.
    const wanted = [true, true, true, false];
    const tail = [0, wanted, isCausal, scale] as const;
    return efficientBackward(dy, ...operands, null, y, inputs.residual0, ...state, ...tail).slice(0, 3);
  },
};

export const fusedAttention: KernelTable = {
  [names.ATTENTION]: fusedKernel<names.AttentionInputs, names.AttentionAttributes>((inputs, attributes, backend) => {
    const fused = chooseKernel(inputs, attributes, backend);
    return fused ? fused.forward(inputs, attributes, backend) : forward(inputs, attributes, backend);
  }),
  [names.ATTENTION_GRADIENT]: fusedKernel<names.AttentionGradientInputs, names.AttentionAttributes>(
    (inputs, attributes, backend) => {
      const fused = chooseKernel(inputs, attributes, backend);
      return fused ? fused.backward(inputs, attributes, backend) : backward(inputs, attributes, backend);
    },
  ),
};
