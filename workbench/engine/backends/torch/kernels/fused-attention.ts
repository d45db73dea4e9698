// attention over ATen. The attention of one query per head, as in generation on the CPU, is an operator of the addon.
// For other operands a fused kernel of libtorch is used if one accepts them, because fused kernels do not store the
// scores of all pairs of queries and keys. They are flash attention on the CPU (from libtorch 2.2) and on CUDA in half
// precision, and the memory-efficient kernel on CUDA (both from 2.1). libtorch chooses the kernel; an operator that is
// missing or has another signature than the one below is not used. Query heads that share keys are passed to it as the
// heads of one batch entry, with the keys expanded, which copies nothing. Otherwise attention is computed by matrix
// products and a softmax (composed-attention.ts).

import type { TensorInfo } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, hasOperator, internalAten, openAddon } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import { fusedKernel, half, type KernelTable } from "../register.ts";
import { composedAttention, composedAttentionGradient } from "./composed-attention.ts";

const reshape = aten("reshape");
const expand = aten("expand");
const narrow = aten("narrow");
const nativeOneQuery = aten("one_query_attention", "", "gblr");
const nativePaged = aten("paged_attention", "", "gblr");
const sum = aten("sum", "dim_IntList");

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

const choice = internalAten("_fused_sdp_choice");
const cpuForward = internalAten<Handle[]>("_scaled_dot_product_flash_attention_for_cpu");
const cpuBackward = internalAten<Handle[]>("_scaled_dot_product_flash_attention_for_cpu_backward");
const flashForward = internalAten<Handle[]>("_scaled_dot_product_flash_attention");
const flashBackward = internalAten<Handle[]>("_scaled_dot_product_flash_attention_backward");
const efficientForward = internalAten<Handle[]>("_scaled_dot_product_efficient_attention");
const efficientBackward = internalAten<Handle[]>("_scaled_dot_product_efficient_attention_backward");
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
  { causal, scale, window }: names.AttentionAttributes,
  backend: TorchBackend,
): AttentionKernel | undefined {
  const { q, k, v } = inputs;
  const [tokens, headDim] = [q.shape[2] as number, q.shape[3] as number];
  if (window < (k.shape[2] as number)) return undefined;
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

/** A tensor with another shape, as an input of the kernels above. */
const withShape = (handle: Handle, shape: number[]): TensorInfo => ({
  shape,
  dtype: "float32",
  dataId: { torch: { handle, references: 1 } },
});

/**
 * Each group of query heads as the heads of one batch entry: (batch, heads, tokens, width) → (batch · key_heads, group,
 * tokens, width). The keys and values of a group are expanded.
 */
function inGroups<Inputs extends names.AttentionInputs>(inputs: Inputs): Inputs {
  const [batch, keyHeads] = inputs.k.shape as [number, number];
  const heads = inputs.q.shape[1] as number;
  if (heads === keyHeads) return inputs;
  const group = heads / keyHeads;
  const split = (x: TensorInfo, own: number): TensorInfo => {
    const [, , tokens, width] = x.shape as [number, number, number, number];
    const shape = [batch * keyHeads, group, tokens, width];
    const grouped = reshape(x, [batch * keyHeads, own, tokens, width]);
    return withShape(own === group ? grouped : expand(grouped, shape), shape);
  };
  const result: names.AttentionInputs & { dy?: TensorInfo; y?: TensorInfo } = { ...inputs };
  for (const name of ["q", "dy", "y"] as const) {
    const x = result[name];
    if (x) result[name] = split(x, group);
  }
  return { ...result, k: split(inputs.k, 1), v: split(inputs.v, 1) } as Inputs;
}

/** The sum over the heads of each group, (batch · key_heads, group, tokens, width), as the gradient of x. */
const sumOfGroup = (gradient: Handle, x: TensorInfo): Handle => reshape(sum(gradient, [1]), x.shape);

const isEmpty = ({ shape }: TensorInfo): boolean => shape.includes(0);

/**
 * Whether the addon's operator computes this: one query per head, without a gradient, in float32 on the CPU. It reads the
 * keys and values of a long text once.
 */
const isOneQuery = ({ q, v }: names.AttentionInputs, keepResiduals: boolean, backend: TorchBackend): boolean =>
  q.shape[2] === 1 && !keepResiduals && backend.device === "cpu" && !backend.mixed && !isEmpty(q) && !isEmpty(v);

function oneQuery({ q, k, v }: names.AttentionInputs, { scale, window }: names.AttentionAttributes): Handle {
  const keyTokens = k.shape[2] as number;
  // The query comes after all keys, so its window is the last keys.
  const latest = (x: TensorInfo) => (window < keyTokens ? narrow(x, 2, keyTokens - window, window) : x);
  return nativeOneQuery(q, latest(k), latest(v), scale);
}

export const fusedAttention: KernelTable = {
  [names.ATTENTION]: fusedKernel<names.AttentionInputs, names.AttentionAttributes>((inputs, attributes, backend) => {
    if (isOneQuery(inputs, attributes.keepResiduals, backend)) return oneQuery(inputs, attributes);
    const grouped = inGroups(inputs);
    const fused = chooseKernel(grouped, attributes, backend);
    if (!fused) return composedAttention(inputs, attributes, backend);
    const [y, ...residuals] = fused.forward(grouped, attributes, backend) as [Handle, ...Handle[]];
    if (grouped === inputs) return [y, ...residuals];
    const { q, v } = inputs;
    return [reshape(y, [...q.shape.slice(0, 3), v.shape[3] as number]), ...residuals];
  }),
  [names.PAGED_ATTENTION]: fusedKernel<names.PagedAttentionInputs, names.PagedAttentionAttributes>(
    ({ q, k, v, pages, lengths }, { size, scale, window }) => {
      const queries = reshape(q, q.shape.slice(1));
      // The operator takes 0 for no window.
      const latest = Number.isFinite(window) ? window : 0;
      return reshape(nativePaged(queries, k, v, pages, lengths, size, scale, latest), q.shape);
    },
  ),
  [names.ATTENTION_GRADIENT]: fusedKernel<names.AttentionGradientInputs, names.AttentionAttributes>(
    (inputs, attributes, backend) => {
      const grouped = inGroups(inputs);
      const fused = chooseKernel(grouped, attributes, backend);
      if (!fused) return composedAttentionGradient(inputs, attributes, backend);
      const gradients = fused.backward(grouped, attributes, backend);
      if (grouped === inputs) return gradients;
      const [dq, dk, dv] = gradients as [Handle, Handle, Handle];
      return [reshape(dq, inputs.q.shape), sumOfGroup(dk, inputs.k), sumOfGroup(dv, inputs.v)];
    },
  ),
};
