// Corrects kernels of TensorFlow.js's backends for operands for which their results are wrong. Reductions over an axis
// of size zero return uninitialized memory; here they return the neutral value. Matrix products over an inner axis of
// size zero must be zeros (the WebGPU backend cannot bind an empty buffer), and products of two stacks that broadcast
// against each other are wrong. Here each is rewritten as a product that the backend computes correctly. All other
// calls go to the backend's own kernel.

import * as tf from "@tensorflow/tfjs-core";
import { type KernelCall, type KernelResult, type OwnKernel, wrapKernel } from "../../tfjs/registry.ts";

/** The result of a reduction over no values. */
interface Neutral {
  value: number;
  dtype: (input: tf.DataType) => tf.DataType;
}

const like = (dtype: tf.DataType): tf.DataType => dtype;
const toBool = (): tf.DataType => "bool";
const toFloat = (): tf.DataType => "float32";

const NEUTRAL: [kernelName: string, Neutral][] = [
  [tf.All, { value: 1, dtype: toBool }],
  [tf.Any, { value: 0, dtype: toBool }],
  [tf.Max, { value: Number.NEGATIVE_INFINITY, dtype: like }],
  [tf.Mean, { value: Number.NaN, dtype: toFloat }],
  [tf.Min, { value: Number.POSITIVE_INFINITY, dtype: like }],
  [tf.Prod, { value: 1, dtype: tf.sumOutType }],
  [tf.Sum, { value: 0, dtype: tf.sumOutType }],
];

/** Wraps the backend's own reductions so that empty ones return the neutral value. */
export function registerEmptyReductions(backendName: string): void {
  for (const [kernelName, neutral] of NEUTRAL) {
    wrapKernel<{ x: tf.TensorInfo }, ReduceAttributes | undefined>(kernelName, backendName, (call, own) =>
      tf.util.sizeFromShape(call.inputs.x.shape) === 0
        ? reduceNothing(call.inputs.x, call.attrs ?? {}, neutral)
        : own(call as KernelCall),
    );
  }
}

interface ReduceAttributes {
  axis?: number | number[];
  keepDims?: boolean;
}

function reduceNothing(x: tf.TensorInfo, { axis, keepDims }: ReduceAttributes, { value, dtype }: Neutral): tf.Tensor {
  const axes = tf.util.parseAxisParam(axis ?? x.shape.map((_, at) => at), x.shape);
  const [reduced] = tf.backend_util.computeOutAndReduceShapes(x.shape, axes);
  const shape = keepDims ? tf.backend_util.expandShapeToKeepDim(reduced, axes) : reduced;
  return tf.fill(shape, value, dtype(x.dtype) as "float32");
}

interface Operands {
  a: tf.Tensor;
  b: tf.Tensor;
}
type Transposed = { transposeA: boolean; transposeB: boolean } | undefined;

/** Wraps the backend's kernels for matrix products so that empty and broadcast ones are correct. */
export function registerMatMulEdges(backendName: string): void {
  for (const kernelName of [tf.BatchMatMul, tf._FusedMatMul]) {
    wrapKernel<Operands, Transposed>(kernelName, backendName, multiplyEdges);
  }
}

function multiplyEdges(call: KernelCall<Operands, Transposed>, own: OwnKernel): KernelResult {
  const { a, b } = call.inputs;
  const innerA = call.attrs?.transposeA ? -2 : -1;
  const innerB = call.attrs?.transposeB ? -1 : -2;
  const nothing = a.shape.at(innerA) === 0 && b.shape.at(innerB) === 0;
  if (!nothing && !isMutualBroadcast(a.shape, b.shape)) {
    return own(call as KernelCall);
  }
  const replaced = tf.tidy(() =>
    nothing ? { a: zerosOfInnerOne(a, innerA), b: zerosOfInnerOne(b, innerB) } : broadcastStacks(a, b),
  );
  const product = own({ ...call, inputs: { ...call.inputs, ...replaced } } as KernelCall);
  tf.dispose({ ...replaced });
  return product;
}

function zerosOfInnerOne({ shape, dtype }: tf.Tensor, inner: number): tf.Tensor {
  return tf.zeros(shape.with(inner, 1), dtype);
}

const stackOf = (shape: readonly number[]): number[] => shape.slice(0, -2);

/** Whether both operands are stacks of several matrices, and at least one of them has to be broadcast. */
function isMutualBroadcast(a: readonly number[], b: readonly number[]): boolean {
  const [sizeA, sizeB] = [a, b].map((shape) => tf.util.sizeFromShape(stackOf(shape)));
  const full = tf.util.sizeFromShape(tf.broadcast_util.assertAndGetBroadcastShape(stackOf(a), stackOf(b)));
  return sizeA !== 1 && sizeB !== 1 && !(sizeA === full && sizeB === full);
}

function broadcastStacks(a: tf.Tensor, b: tf.Tensor): { a: tf.Tensor; b: tf.Tensor } {
  const stack = tf.broadcast_util.assertAndGetBroadcastShape(stackOf(a.shape), stackOf(b.shape));
  const whole = (x: tf.Tensor) => tf.broadcastTo(x, [...stack, ...x.shape.slice(-2)]);
  return { a: whole(a), b: whole(b) };
}
