// Registers kernels for the wasm engine: kernels that TensorFlow.js's WebAssembly backend lacks, and faster ones in
// place of those that would take most of the training time, such as products of transposed or stacked matrices.

import * as tf from "@tensorflow/tfjs-core";
import { registerConv2dGradients, registerDepthwiseConv2dGradients } from "../shared/convolution-gradients.ts";
import { registerEmptyReductions } from "../shared/edge-cases.ts";
import { registerEinsum } from "../shared/einsum.ts";
import { type HostCondition, registerHostKernels } from "../shared/host-fallback.ts";
import { registerAveragePoolGradient, registerResizeGradients } from "../shared/image-gradients.ts";
import { registerComplex } from "./complex.ts";
import { registerCopies } from "./copies.ts";
import { registerGaudiMasks } from "./gblr.ts";
import { registerGradients } from "./gradients.ts";
import { registerProducts } from "./products.ts";

const BACKEND = "wasm";

/**
 * Kernels that the backend lacks or computes wrongly (the gradients of 3-D convolutions). They run on the host in plain
 * JavaScript, because they are rarely used.
 */
const ON_HOST = [
  tf.ComplexAbs,
  tf.Conv3DBackpropFilterV2,
  tf.Conv3DBackpropInputV2,
  tf.FFT,
  tf.IFFT,
  tf.RaggedGather,
  tf.RaggedRange,
  tf.RaggedTensorToTensor,
  tf.StaticRegexReplace,
];

/**
 * Kernels that run on the host for strings and complex numbers. The backend's own kernels treat these as float32 and
 * read beyond their end.
 */
const NUMBERS_ONLY = [
  tf.Add,
  tf.Cast,
  tf.Concat,
  tf.Equal,
  tf.Fill,
  tf.GatherV2,
  tf.Greater,
  tf.GreaterEqual,
  tf.Less,
  tf.LessEqual,
  tf.Multiply,
  tf.NotEqual,
  tf.OnesLike,
  tf.Slice,
  tf.SparseToDense,
  tf.SplitV,
  tf.StridedSlice,
  tf.Sub,
  tf.Tile,
  tf.Transpose,
  tf.Unpack,
  tf.ZerosLike,
];

let registered: Promise<void> | undefined;

/** Registers all kernels once. The WebAssembly backend's own kernels must be registered before. */
export function registerWasmKernels(): Promise<void> {
  registered ??= register();
  return registered;
}

async function register(): Promise<void> {
  registerProducts();
  registerCopies();
  registerConv2dGradients(BACKEND);
  registerDepthwiseConv2dGradients(BACKEND);
  registerGradients();
  registerAveragePoolGradient(BACKEND);
  registerResizeGradients(BACKEND);
  registerEinsum(BACKEND);
  registerEmptyReductions(BACKEND);
  registerGaudiMasks();
  await registerComplex();
  await registerHostKernels(BACKEND, ON_HOST);
  const isOther = (dtype: unknown) => dtype === "string" || dtype === "complex64";
  const notNumber: HostCondition = (inputs, { dtype }) => isOther(dtype) || inputs.some((info) => isOther(info.dtype));
  await registerHostKernels(BACKEND, NUMBERS_ONLY, notNumber);
  const notFloat: HostCondition = (inputs) => inputs.some(({ dtype }) => dtype !== "float32");
  await registerHostKernels(BACKEND, [tf.BatchMatMul, tf._FusedMatMul], notFloat);
}
