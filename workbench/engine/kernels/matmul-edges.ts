// Matrix products that backends of TensorFlow.js get wrong: over an inner axis of size zero, which are zeros (the WebGPU
// backend cannot bind an empty buffer), and of two stacks that broadcast against each other. Each is rewritten as a
// product that they get right; all others go to the backend's own kernel untouched.

import * as tf from "@tensorflow/tfjs-core";

type Call = Parameters<tf.KernelFunc>[0];

/** Wraps the backend's kernels for matrix products. */
export function registerMatMulEdges(backendName: string): void {
  for (const kernelName of [tf.BatchMatMul, tf._FusedMatMul]) {
    const own = tf.getKernel(kernelName, backendName);
    if (!own) {
      throw new Error(`registerMatMulEdges: backend ${backendName} has no kernel ${kernelName}`);
    }
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({ ...own, kernelFunc: (call) => run(own.kernelFunc, call) });
  }
}

function run(kernel: tf.KernelFunc, call: Call): tf.TensorInfo | tf.TensorInfo[] {
  const { a, b } = call.inputs as { a: tf.Tensor; b: tf.Tensor };
  const { transposeA, transposeB } = call.attrs ?? {};
  const innerA = transposeA ? -2 : -1;
  const innerB = transposeB ? -1 : -2;
  const nothing = a.shape.at(innerA) === 0 && b.shape.at(innerB) === 0;
  if (!nothing && !isMutualBroadcast(a.shape, b.shape)) {
    return kernel(call);
  }
  const replaced = tf.tidy(() =>
    nothing ? { a: zerosOfInnerOne(a, innerA), b: zerosOfInnerOne(b, innerB) } : broadcastStacks(a, b),
  );
  const product = kernel({ ...call, inputs: { ...call.inputs, ...replaced } });
  tf.dispose(replaced);
  return product;
}

function zerosOfInnerOne({ shape, dtype }: tf.Tensor, inner: number): tf.Tensor {
  return tf.zeros(shape.with(inner, 1), dtype);
}

const stackOf = (shape: readonly number[]): number[] => shape.slice(0, -2);

/** Neither stack is a single matrix, nor are they alike. */
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
