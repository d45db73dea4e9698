// The attention kernels that come with libtorch, which never hold the scores of all pairs: flash attention on the CPU
// (from 2.2) and on CUDA in half precision, the memory-efficient kernel on CUDA (both from 2.1). Which one suits is
// libtorch's own judgement; where an operator is absent or has another signature than the one known here, none does.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import type * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, hasOperator, openAddon } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import { half } from "../precision.ts";

interface AttentionKernel {
  /** → y and, where asked to keep it, the log-sum-exp of each query */
  forward(inputs: names.AttentionInputs, attributes: names.AttentionAttributes, backend: TorchBackend): Handle[];
  /** → dq, dk, dv */
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

/** Whether the operator is there and its arguments start as this file passes them. */
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

/** With a single query every key is visible, and with as many queries as keys these kernels align as we do. */
const causalHere = ({ q }: names.AttentionInputs, causal: boolean): boolean => causal && q.shape[2] !== 1;

// at::SDPBackend
const FLASH = 1;
const EFFICIENT = 2;
const CUDNN = 3;

/** The kernel for these operands; undefined where none takes them. The same for a forward and its backward. */
export function chooseKernel(
  inputs: names.AttentionInputs,
  { causal, scale }: names.AttentionAttributes,
  backend: TorchBackend,
): AttentionKernel | undefined {
  const { q, k, v } = inputs;
  const [tokens, headDim] = [q.shape[2] as number, q.shape[3] as number];
  // Causal masks start at the first key there, with us they end at the last.
  const aligned = !causalHere(inputs, causal) || tokens === k.shape[2];
  if (!aligned || headDim !== v.shape[3] || q.shape.includes(0) || !fits("_fused_sdp_choice")) return undefined;
  const chosen = choice(...queryKeyValue(inputs, backend), null, 0, causalHere(inputs, causal), scale);
  if (backend.device === "cpu") {
    return chosen === FLASH && fits("_scaled_dot_product_flash_attention_for_cpu") ? cpuFlash : undefined;
  }
  // What cuDNN takes, flash attention takes as well, but for widths that would need padding.
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
    // Without ragged lengths there are no cumulative ones, and without dropout no state of a generator.
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
    // The fourth gradient would be the bias's.
    const wanted = [true, true, true, false];
    const tail = [0, wanted, isCausal, scale] as const;
    return efficientBackward(dy, ...operands, null, y, inputs.residual0, ...state, ...tail).slice(0, 3);
  },
};
