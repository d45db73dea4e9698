// Registers, for the webgpu engine, the kernels that TensorFlow.js's WebGPU backend lacks, and mends those that get empty
// tensors wrong. Kernels on the host take only tensors whose values are still there (strings always are): WebGPU has no
// synchronous read.

import * as tf from "@tensorflow/tfjs-core";
import { registerAveragePoolGradient } from "./average-pool-gradient.ts";
import { registerBitwiseAnd } from "./bitwise-and-webgpu.ts";
import { registerEmptyProducts } from "./empty-products.ts";
import { registerHostKernels } from "./host-fallback.ts";
import { registerResizeGradients } from "./resize-gradients.ts";

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

/** They divide the input's size by that of what is reduced. */
const REDUCTIONS = [tf.All, tf.Any, tf.Max, tf.Mean, tf.Min, tf.Prod, tf.Sum];

let registered: Promise<void> | undefined;

/** Idempotent; the WebGPU backend's own kernels must be registered before. */
export function registerWebgpuKernels(): Promise<void> {
  registered ??= register();
  return registered;
}

async function register(): Promise<void> {
  registerBitwiseAnd();
  registerEmptyProducts(BACKEND);
  registerAveragePoolGradient(BACKEND);
  registerResizeGradients(BACKEND);
  await registerHostKernels(BACKEND, ON_HOST);
  await registerHostKernels(BACKEND, REDUCTIONS, ([x]) => x !== undefined && tf.util.sizeFromShape(x.shape) === 0);
}
