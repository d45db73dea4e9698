// Registers, for the wasm engine, the kernels that TensorFlow.js's WebAssembly backend lacks, and faster ones in place of
// those that training would wait for: products of transposed or stacked matrices, and gradients of convolutions.

import * as tf from "@tensorflow/tfjs-core";
import { registerAveragePoolGradient } from "./average-pool-gradient.ts";
import { registerCast } from "./cast-wasm.ts";
import { registerComplex } from "./complex-wasm.ts";
import { registerConv2dGradients } from "./conv2d-gradients.ts";
import { registerCopies } from "./copies-wasm.ts";
import { registerDepthwiseConv2dGradients } from "./depthwise-conv2d-gradients.ts";
import { registerEinsum } from "./einsum.ts";
import { registerEmptyReductions } from "./empty-reductions.ts";
import { registerFusedMatMul } from "./fused-matmul-wasm.ts";
import { registerGather } from "./gather-wasm.ts";
import { type HostCondition, registerHostKernels } from "./host-fallback.ts";
import { registerMatMul } from "./matmul-wasm.ts";
import { registerMaxPoolGradient } from "./max-pool-gradient-wasm.ts";
import { registerResizeGradients } from "./resize-gradients.ts";
import { registerSegmentSum } from "./segment-sum-wasm.ts";

const BACKEND = "wasm";

/** Missing or, as the gradients of 3-D convolutions, wrong; rare enough to compute in plain JavaScript. */
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

/** They take strings or complex numbers for float32, and read beyond them. */
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

/** Idempotent; the WebAssembly backend's own kernels must be registered before. */
export function registerWasmKernels(): Promise<void> {
  registered ??= register();
  return registered;
}

async function register(): Promise<void> {
  registerCast();
  registerMatMul();
  registerFusedMatMul();
  registerGather();
  registerCopies();
  registerConv2dGradients(BACKEND);
  registerDepthwiseConv2dGradients(BACKEND);
  registerSegmentSum();
  registerMaxPoolGradient();
  registerAveragePoolGradient(BACKEND);
  registerResizeGradients(BACKEND);
  registerEinsum(BACKEND);
  registerEmptyReductions(BACKEND);
  await registerComplex();
  await registerHostKernels(BACKEND, ON_HOST);
  const isOther = (dtype: unknown) => dtype === "string" || dtype === "complex64";
  const notNumber: HostCondition = (inputs, { dtype }) => isOther(dtype) || inputs.some((info) => isOther(info.dtype));
  await registerHostKernels(BACKEND, NUMBERS_ONLY, notNumber);
  const notFloat: HostCondition = (inputs) => inputs.some(({ dtype }) => dtype !== "float32");
  await registerHostKernels(BACKEND, [tf.BatchMatMul, tf._FusedMatMul], notFloat);
}
