// The fused matrix product (bias and activation in one kernel) for the wasm engine: the backend's own kernel where that is
// fast, which is two plain matrices, else the product, the bias and the activation one after the other.

import * as tf from "@tensorflow/tfjs-core";

type Call = Parameters<tf.KernelFunc>[0];

interface FusedAttributes {
  transposeA: boolean;
  transposeB: boolean;
  activation: string;
  leakyreluAlpha?: number;
}

export function registerFusedMatMul(): void {
  const own = tf.getKernel(tf._FusedMatMul, "wasm");
  if (!own) {
    throw new Error(`registerFusedMatMul: the wasm backend has no kernel ${tf._FusedMatMul}`);
  }
  tf.unregisterKernel(tf._FusedMatMul, "wasm");
  tf.registerKernel({ ...own, kernelFunc: (call) => multiplyFused(call, own.kernelFunc) });
}

function multiplyFused(call: Call, own: tf.KernelFunc): tf.TensorInfo | tf.TensorInfo[] {
  const { a, b, bias, preluActivationWeights } = call.inputs as Record<string, tf.Tensor | undefined>;
  const { transposeA, transposeB, activation, leakyreluAlpha } = call.attrs as unknown as FusedAttributes;
  const [sizeA, sizeB] = [a, b].map((x) => tf.util.sizeFromShape(x?.shape ?? []));
  const plain = !transposeA && !transposeB && a?.shape[0] === 1 && b?.shape[0] === 1;
  if (plain && sizeA && sizeB && (bias?.shape.length ?? 1) === 1) {
    return own(call);
  }
  return tf.tidy(() => {
    const product = tf.matMul(a as tf.Tensor, b as tf.Tensor, transposeA, transposeB);
    const sum = bias ? tf.add(product, bias) : product;
    return activate(sum, activation, { leakyreluAlpha, preluActivationWeights });
  });
}

interface ActivationOptions {
  leakyreluAlpha?: number | undefined;
  preluActivationWeights?: tf.Tensor | undefined;
}

function activate(x: tf.Tensor, activation: string, options: ActivationOptions): tf.Tensor {
  const { leakyreluAlpha, preluActivationWeights } = options;
  switch (activation) {
    case "linear":
      return x;
    case "relu":
      return tf.relu(x);
    case "relu6":
      return tf.relu6(x);
    case "elu":
      return tf.elu(x);
    case "sigmoid":
      return tf.sigmoid(x);
    case "leakyrelu":
      return tf.leakyRelu(x, leakyreluAlpha);
    case "prelu":
      return tf.prelu(x, preluActivationWeights as tf.Tensor);
    default:
      throw new Error(`_FusedMatMul: unknown activation "${activation}"`);
  }
}
