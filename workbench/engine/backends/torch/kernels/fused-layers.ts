// Kernels of the fused layers and of the loss over ATen: linear, gelu, layerNorm, embedding, dropout and crossEntropy,
// forward and backward. ops/kernels.ts lists what each returns. The tanh form of gelu on the CPU is the addon's own
// operator. The cross entropy computes the log-sum-exp of a chunk of rows at a time, so that its temporary copy of the
// logits stays small. Its gradient is computed in place, in the memory of the result.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import { mixSeed } from "../../../core/random.ts";
import * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, CONTIGUOUS_FORMAT, halfHandleOf } from "../aten.ts";
import { currentAddon, type TorchBackend } from "../backend.ts";
import { fusedKernel, type KernelTable, single } from "../register.ts";
import { weightProduct } from "./weight-product.ts";

const gelu = aten("gelu");
const geluInPlace = aten("gelu_");
const geluBackward = aten("gelu_backward");
const geluTanh = aten("gelu_tanh", "", "gblr");
const geluTanhInPlace = aten("gelu_tanh_", "", "gblr");
const geluTanhBackward = aten("gelu_tanh_backward", "", "gblr");
const nativeLayerNorm = aten<Handle[]>("native_layer_norm");
const nativeLayerNormBackward = aten<Handle[]>("native_layer_norm_backward");
const embedding = aten("embedding");
const embeddingBackward = aten("embedding_dense_backward");
const emptyLike = aten("empty_like");
const bernoulliInPlace = aten("bernoulli_", "float");
const multiply = aten("mul", "Tensor");
const multiplyInPlace = aten("mul_", "Scalar");

/**
 * Whether the addon's own operators compute this form of gelu. They compute the tanh form on the CPU if all tensors are
 * float32.
 */
const isInAddon = (approximate: names.GeluForm, backend: TorchBackend): boolean =>
  approximate === "tanh" && backend.device === "cpu" && !backend.mixed;

function activated(x: TensorInfo | Handle, approximate: names.GeluForm, backend: TorchBackend): Handle {
  return isInAddon(approximate, backend) ? geluTanh(x) : gelu(x, approximate);
}

function activateInPlace(x: Handle, approximate: names.GeluForm, backend: TorchBackend): Handle {
  if (isInAddon(approximate, backend)) geluTanhInPlace(x);
  else geluInPlace(x, approximate);
  return x;
}

// Each mask has its own generator, so that the same seed always drops the same entries. A generator uses 32 bits of its
// seed.
function keepMask(x: TensorInfo, { rate, seed }: names.DropoutAttributes, backend: TorchBackend): Handle {
  const addon = currentAddon();
  const mask = emptyLike(x, "bool");
  const generator = addon.generator(backend.device, mixSeed(seed));
  try {
    bernoulliInPlace(mask, 1 - rate, generator);
  } finally {
    addon.freeGenerator(generator);
  }
  return mask;
}

function dropped(x: TensorInfo, mask: TensorInfo | Handle, rate: number): Handle {
  const kept = multiply(x, mask);
  multiplyInPlace(kept, 1 / (1 - rate));
  return kept;
}

/** linear, gelu, layerNorm, embedding and dropout, with gradients. */
export const fusedLayers: KernelTable = {
  [names.LINEAR]: fusedKernel<names.LinearInputs, names.LinearAttributes>((inputs, attributes, backend) => {
    const { activation, layout, keepPreactivation } = attributes;
    const preactivation = weightProduct(inputs, layout, backend);
    if (activation === "none") return preactivation;
    const approximate = activation === "gelu_tanh" ? "tanh" : "none";
    if (keepPreactivation) return [activated(preactivation, approximate, backend), preactivation];
    return activateInPlace(preactivation, approximate, backend);
  }),

  [names.GELU]: fusedKernel<names.GeluInputs, names.GeluAttributes>(({ x }, { approximate }, backend) =>
    activated(x, approximate, backend),
  ),
  [names.GELU_GRADIENT]: fusedKernel<names.GeluGradientInputs, names.GeluAttributes>(
    ({ dy, x }, { approximate }, backend) =>
      isInAddon(approximate, backend) ? geluTanhBackward(dy, x) : geluBackward(dy, x, approximate),
  ),

  [names.LAYER_NORM]: fusedKernel<names.LayerNormInputs, names.LayerNormAttributes>(
    ({ x, gain, bias }, { epsilon }, backend) => nativeLayerNorm(single(x, backend), gain.shape, gain, bias, epsilon),
  ),
  [names.LAYER_NORM_GRADIENT]: fusedKernel<names.LayerNormGradientInputs>((inputs, _, backend) => {
    const { dy, x, gain, bias, mean, inverseStd } = inputs;
    const outer = single(dy, backend);
    const inner = single(x, backend);
    return nativeLayerNormBackward(outer, inner, gain.shape, mean, inverseStd, gain, bias, [true, true, true]);
  }),

  [names.EMBEDDING]: fusedKernel<names.EmbeddingInputs>(({ table, ids }) => {
    const half = halfHandleOf(table);
    return half === undefined ? embedding(table, ids) : cast(embedding(half, ids), "float32");
  }),
  [names.EMBEDDING_GRADIENT]: fusedKernel<names.EmbeddingGradientInputs, names.EmbeddingGradientAttributes>(
    ({ dy, ids }, { rows }, backend) => embeddingBackward(single(dy, backend), ids, rows, -1, false),
  ),

  [names.DROPOUT]: fusedKernel<names.DropoutInputs, names.DropoutAttributes>(({ x }, attributes, backend) => {
    const mask = keepMask(x, attributes, backend);
    return [dropped(x, mask, attributes.rate), mask];
  }),
  [names.DROPOUT_GRADIENT]: fusedKernel<names.DropoutGradientInputs, names.DropoutGradientAttributes>(
    ({ dy, mask }, { rate }) => dropped(dy, mask, rate),
  ),
};

const narrow = aten("narrow");
const logSumExp = aten("logsumexp");
const mean = aten("mean", "dim");
const concatenate = aten("cat");
const newEmpty = aten("new_empty");
const gather = aten("gather");
const scatterAddInPlace = aten("scatter_add_");
const newFull = aten("new_full");
const clamp = aten("clamp");
const cast = aten("to", "dtype");
const unsqueeze = aten("unsqueeze");
const squeeze = aten("squeeze", "dim");
const subtract = aten("sub", "Tensor");
const subtractInPlace = aten("sub_", "Scalar");
const expInPlace = aten("exp_");
const multiplyRowsInPlace = aten("mul_", "Tensor");
const equals = aten("eq", "Scalar");
const differs = aten("ne", "Tensor");
const fillInPlace = aten("masked_fill_", "Scalar");
const clone = aten("clone");

// Logits in a chunk: enough work for all threads of a CPU, or for a GPU.
const CPU_CHUNK = 1 << 22;
const GPU_CHUNK = 1 << 26;

/** Computes one number per row. `reduce` is called with a chunk of rows at a time, in float32. */
function eachChunk(logits: TensorInfo, backend: TorchBackend, reduce: (rows: TensorInfo | Handle) => Handle): Handle {
  const [rows, classes] = logits.shape as [number, number];
  if (rows === 0) return newEmpty(logits, [0]);
  const limit = backend.device === "cpu" ? CPU_CHUNK : GPU_CHUNK;
  const count = Math.max(1, Math.floor(limit / classes));
  if (count >= rows) return reduce(single(logits, backend));
  const parts: Handle[] = [];
  for (let start = 0; start < rows; start += count) {
    parts.push(reduce(single(narrow(logits, 0, start, Math.min(count, rows - start)), backend)));
  }
  return concatenate(parts);
}

/** Targets as column indices of the logits. Targets out of range are clamped. */
const columns = (targets: TensorInfo, classes: number) => clamp(targets, 0, classes - 1);

/** Sets a row's value to 0 if its target is ignored, and to NaN if its target is not a class. */
function maskByTargetInPlace(values: Handle, targets: TensorInfo, classes: number, ignoreIndex: number): void {
  fillInPlace(values, differs(columns(targets, classes), targets), Number.NaN);
  fillInPlace(values, equals(targets, ignoreIndex), 0);
}

/** (rows) → (rows, 1), as an index. */
const asIndex = (targets: TensorInfo, classes: number) => unsqueeze(cast(columns(targets, classes), "int64"), 1);

/** crossEntropy and its gradient. */
export const fusedLoss: KernelTable = {
  [names.CROSS_ENTROPY]: fusedKernel<names.CrossEntropyInputs, names.CrossEntropyAttributes>(
    (inputs, attributes, backend) => {
      const { logits, targets } = inputs;
      const { ignoreIndex, labelSmoothing } = attributes;
      const classes = logits.shape[1] as number;
      const total = eachChunk(logits, backend, (rows) => logSumExp(rows, [1]));
      const likely = squeeze(gather(logits, 1, asIndex(targets, classes)), 1);
      const loss = subtract(total, likely, 1 - labelSmoothing);
      if (labelSmoothing === 0) {
        maskByTargetInPlace(loss, targets, classes, ignoreIndex);
        return [loss, total];
      }
      const average = eachChunk(logits, backend, (rows) => mean(rows, [1]));
      const smoothed = subtract(loss, average, labelSmoothing);
      maskByTargetInPlace(smoothed, targets, classes, ignoreIndex);
      return [smoothed, total];
    },
  ),
  [names.CROSS_ENTROPY_GRADIENT]: fusedKernel<names.CrossEntropyGradientInputs, names.CrossEntropyAttributes>(
    (inputs, attributes, backend) => {
      const { dy, logits, targets, logSumExp: total } = inputs;
      const { ignoreIndex, labelSmoothing } = attributes;
      const [rows, classes] = logits.shape as [number, number];
      const gradient = subtract(logits, unsqueeze(total, 1));
      expInPlace(gradient);
      const share = newFull(total, [rows, 1], labelSmoothing - 1);
      scatterAddInPlace(gradient, 1, asIndex(targets, classes), share);
      if (labelSmoothing > 0) subtractInPlace(gradient, labelSmoothing / classes);
      const outer = clone(single(dy, backend), CONTIGUOUS_FORMAT);
      maskByTargetInPlace(outer, targets, classes, ignoreIndex);
      multiplyRowsInPlace(gradient, unsqueeze(outer, 1));
      return gradient;
    },
  ),
};
