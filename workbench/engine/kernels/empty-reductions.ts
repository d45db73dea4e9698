// Reductions over an axis of size zero, which TensorFlow.js's backends answer with whatever is in memory: the neutral
// value of each. All others go to the backend's own kernel.

import * as tf from "@tensorflow/tfjs-core";

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

/** Wraps the backend's own reductions. */
export function registerEmptyReductions(backendName: string): void {
  for (const [kernelName, neutral] of NEUTRAL) {
    const own = tf.getKernel(kernelName, backendName);
    if (!own) {
      throw new Error(`registerEmptyReductions: backend ${backendName} has no kernel ${kernelName}`);
    }
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({
      ...own,
      kernelFunc: (call) => {
        const x = call.inputs.x as tf.TensorInfo;
        return tf.util.sizeFromShape(x.shape) === 0
          ? reduceNothing(x, call.attrs ?? {}, neutral)
          : own.kernelFunc(call);
      },
    });
  }
}

function reduceNothing(x: tf.TensorInfo, attributes: tf.NamedAttrMap, { value, dtype }: Neutral): tf.Tensor {
  const { axis, keepDims } = attributes as { axis?: number | number[]; keepDims?: boolean };
  const axes = tf.util.parseAxisParam(axis ?? x.shape.map((_, at) => at), x.shape);
  const [reduced] = tf.backend_util.computeOutAndReduceShapes(x.shape, axes);
  const shape = keepDims ? tf.backend_util.expandShapeToKeepDim(reduced, axes) : reduced;
  return tf.fill(shape, value, dtype(x.dtype) as "float32");
}
