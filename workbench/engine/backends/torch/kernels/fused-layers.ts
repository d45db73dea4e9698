// The fused layers over ATen: linear, gelu, layerNorm, embedding and dropout, forward and backward. What each must
// return is said in ops/kernels.ts. gelu's tanh form on the CPU is the addon's own operator.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import { mixSeed } from "../../../ops/random-bits.ts";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import { currentAddon, type TorchBackend } from "../backend.ts";
import { single } from "../precision.ts";
import type { KernelTable } from "../register.ts";
import { fusedKernel } from "./fused-kernel.ts";

const reshape = aten("reshape");
const transpose = aten("t");
const matrixProduct = aten("mm");
const addMatrixProduct = aten("addmm");
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

function affine({ x, weight, bias }: names.LinearInputs, layout: names.WeightLayout): Handle {
  const { shape } = x;
  const right = layout === "out_in" ? transpose(weight) : weight;
  const width = shape[shape.length - 1] as number;
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const left = shape.length === 2 ? x : reshape(x, [rows, width]);
  const result = bias ? addMatrixProduct(bias, left, right) : matrixProduct(left, right);
  const nOut = weight.shape[layout === "out_in" ? 0 : 1] as number;
  return shape.length === 2 ? result : reshape(result, [...shape.slice(0, -1), nOut]);
}

/** Whether the addon's own operators take the tanh form: on the CPU, where all is float32. */
const isOurs = (approximate: names.GeluForm, backend: TorchBackend): boolean =>
  approximate === "tanh" && backend.device === "cpu" && !backend.mixed;

function activated(x: TensorInfo | Handle, approximate: names.GeluForm, backend: TorchBackend): Handle {
  return isOurs(approximate, backend) ? geluTanh(x) : gelu(x, approximate);
}

function activateInPlace(x: Handle, approximate: names.GeluForm, backend: TorchBackend): Handle {
  if (isOurs(approximate, backend)) geluTanhInPlace(x);
  else geluInPlace(x, approximate);
  return x;
}

// The same seed drops the same entries: a generator of its own, not the engine's. It heeds 32 bits of a seed.
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

export const fusedLayers: KernelTable = {
  [names.LINEAR]: fusedKernel<names.LinearInputs, names.LinearAttributes>((inputs, attributes, backend) => {
    const { activation, layout, keepPreactivation } = attributes;
    const preactivation = affine(inputs, layout);
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
      isOurs(approximate, backend) ? geluTanhBackward(dy, x) : geluBackward(dy, x, approximate),
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

  [names.EMBEDDING]: fusedKernel<names.EmbeddingInputs>(({ table, ids }) => embedding(table, ids)),
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
