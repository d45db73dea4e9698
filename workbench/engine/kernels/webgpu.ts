// Registers, for the webgpu engine, the kernels that TensorFlow.js's WebGPU backend lacks, and mends those that get empty
// tensors, padded borders or broadcast stacks wrong. Kernels on the host take only tensors whose values are still there (strings always are): WebGPU has no
// synchronous read.

import * as tf from "@tensorflow/tfjs-core";
import { registerAddN } from "./add-n-webgpu.ts";
import { registerAveragePoolGradient } from "./average-pool-gradient.ts";
import { registerBitwiseAnd } from "./bitwise-and-webgpu.ts";
import { registerEinsum } from "./einsum.ts";
import { registerEmptyReductions } from "./empty-reductions.ts";
import { registerHostKernels } from "./host-fallback.ts";
import { registerMatMulEdges } from "./matmul-edges.ts";
import { registerResizeGradients } from "./resize-gradients.ts";
import { registerSegmentSum } from "./segment-sum-webgpu.ts";

const BACKEND = "webgpu";

const ON_HOST = [
  tf.NonMaxSuppressionV4,
  tf.RaggedGather,
  tf.RaggedRange,
  tf.RaggedTensorToTensor,
  tf.SparseFillEmptyRows,
  tf.SparseReshape,
  tf.StaticRegexReplace,
  tf.StringSplit,
  tf.StringToHashBucketFast,
  tf.Unique,
];

let registered: Promise<void> | undefined;

/** Idempotent; the WebGPU backend's own kernels must be registered before. */
export function registerWebgpuKernels(): Promise<void> {
  registered ??= register();
  return registered;
}

async function register(): Promise<void> {
  registerAddN();
  registerBitwiseAnd();
  registerEinsum(BACKEND);
  registerMatMulEdges(BACKEND);
  registerEmptyReductions(BACKEND);
  registerAveragePoolGradient(BACKEND);
  registerResizeGradients(BACKEND);
  registerSegmentSum();
  await registerHostKernels(BACKEND, ON_HOST);
}
