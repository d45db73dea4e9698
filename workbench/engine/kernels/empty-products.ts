// Matrix products over an inner dimension of size zero, which are zeros, for backends that cannot bind an empty buffer:
// the operands are replaced by zeros of inner dimension one. All other products go to the backend's own kernel.

import * as tf from "@tensorflow/tfjs-core";

/** Wraps the backend's kernels for matrix products. */
export function registerEmptyProducts(backendName: string): void {
  for (const kernelName of [tf.BatchMatMul, tf._FusedMatMul]) {
    const own = tf.getKernel(kernelName, backendName);
    if (!own) {
      throw new Error(`registerEmptyProducts: backend ${backendName} has no kernel ${kernelName}`);
    }
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({ ...own, kernelFunc: (call) => run(own.kernelFunc, call) });
  }
}

function run(kernel: tf.KernelFunc, call: Parameters<tf.KernelFunc>[0]): tf.TensorInfo | tf.TensorInfo[] {
  const { a, b } = call.inputs;
  const { transposeA, transposeB } = call.attrs ?? {};
  const innerA = transposeA ? -2 : -1;
  const innerB = transposeB ? -1 : -2;
  if (a?.shape.at(innerA) !== 0 || b?.shape.at(innerB) !== 0) {
    return kernel(call);
  }
  const zeros = { a: zerosOfInnerOne(a, innerA), b: zerosOfInnerOne(b, innerB) };
  const product = kernel({ ...call, inputs: { ...call.inputs, ...zeros } });
  tf.dispose(zeros);
  return product;
}

function zerosOfInnerOne({ shape, dtype }: tf.TensorInfo, inner: number): tf.Tensor {
  return tf.zeros(shape.with(inner, 1), dtype);
}
