// Registers kernels for the webgpu engine: those that TensorFlow.js's WebGPU backend lacks, and corrections of those
// that are wrong for empty tensors, padded borders, broadcast stacks, many operands or segment numbers out of range.
// Kernels that run on the host accept only tensors whose values are still on the host, because WebGPU has no
// synchronous read. The values of string tensors are always on the host.

import * as tf from "@tensorflow/tfjs-core";
import { defineKernel, wrapKernel } from "../../tfjs/registry.ts";
import { mostInputs, type WebgpuBackend, type WebgpuProgram } from "../../tfjs/webgpu.ts";
import { registerEmptyReductions, registerMatMulEdges } from "../shared/edge-cases.ts";
import { registerEinsum } from "../shared/einsum.ts";
import { registerHostKernels } from "../shared/host-fallback.ts";
import { registerAveragePoolGradient, registerResizeGradients } from "../shared/image-gradients.ts";

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

/** Registers all kernels once. The WebGPU backend's own kernels must be registered before. */
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

const THREADS = 128;

function bitwiseAndProgram(outputShape: number[]): WebgpuProgram {
  return {
    variableNames: ["A", "B"],
    outputShape,
    shaderKey: "bitwiseAnd",
    workgroupSize: [THREADS, 1, 1],
    dispatchLayout: { x: outputShape.map((_, axis) => axis) },
    dispatch: [Math.ceil(tf.util.sizeFromShape(outputShape) / THREADS), 1, 1],
    size: true,
    getUserCode: () => `
      fn main(index : i32) {
        if (index < uniforms.size) {
          setOutputAtIndexI32(index, A[index] & B[index]);
        }
      }`,
  };
}

/** BitwiseAnd of int32 tensors, the only elementwise kernel that the backend lacks. */
function registerBitwiseAnd(): void {
  defineKernel(tf.BitwiseAnd, BACKEND, ({ a, b }: { a: tf.TensorInfo; b: tf.TensorInfo }, _, backend: WebgpuBackend) =>
    backend.runWebGPUProgram(bitwiseAndProgram(a.shape), [a, b], "int32"),
  );
}

/**
 * AddN of more tensors than a program can bind. They are added in portions, each together with the sum so far. The
 * backend's own kernel binds all of them at once, and its result then reads as zeros.
 */
function registerAddN(): void {
  wrapKernel<tf.TensorInfo[]>(tf.AddN, BACKEND, (call, own) => {
    const tensors = call.inputs;
    const most = mostInputs(call.backend as WebgpuBackend);
    const sum = (portion: tf.TensorInfo[]) => own({ ...call, inputs: portion }) as tf.TensorInfo;
    let total = sum(tensors.slice(0, most));
    for (let next = most; next < tensors.length; next += most - 1) {
      const partial = total;
      total = sum([partial, ...tensors.slice(next, next + most - 1)]);
      call.backend.disposeData(partial.dataId);
    }
    return total;
  });
}

/**
 * UnsortedSegmentSum with segment numbers out of range: the backend's program takes them modulo the number of segments,
 * whereas all other backends ignore their rows. Here numbers that are too large are made negative, because the program
 * ignores negative ones.
 */
function registerSegmentSum(): void {
  wrapKernel<{ x: tf.Tensor; segmentIds: tf.Tensor }, { numSegments: number }>(
    tf.UnsortedSegmentSum,
    BACKEND,
    (call, own) => {
      const { x, segmentIds } = call.inputs;
      const { numSegments } = call.attrs;
      if (x.size === 0) {
        return tf.zeros([numSegments, ...x.shape.slice(1)], x.dtype);
      }
      const ids = tf.tidy(() => tf.where(tf.less(segmentIds, numSegments), segmentIds, tf.scalar(-1, "int32")));
      const sums = own({ ...call, inputs: { ...call.inputs, segmentIds: ids } });
      ids.dispose();
      return sums;
    },
  );
}
