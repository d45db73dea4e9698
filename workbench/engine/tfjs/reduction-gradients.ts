// The gradients of Sum and Mean without the tensor of ones that TensorFlow.js multiplies with: it is filled in
// JavaScript, as large as what was summed, and uploaded at every step of a training loop. Same values, one pass.

import * as tf from "@tensorflow/tfjs-core";

let registered = false;

/** Idempotent; replaces what TensorFlow.js registers, so it comes after. */
export function registerReductionGradients(): void {
  if (registered) return;
  registered = true;
  for (const kernelName of [tf.Sum, tf.Mean]) tf.unregisterGradient(kernelName);
  tf.registerGradient(reductionGradient(tf.Sum, () => 1));
  tf.registerGradient(reductionGradient(tf.Mean, (reduced) => reduced));
}

/** dx = dy / divisor, repeated along the reduced axes; `divisor` gets the number of values behind each of dy. */
function reductionGradient(kernelName: string, divisor: (reduced: number) => number): tf.GradConfig {
  return {
    kernelName,
    inputsToSave: ["x"],
    gradFunc: (dy, [x], attributes) => ({
      x: () => {
        const { shape } = x as tf.Tensor;
        const axes = tf.util.parseAxisParam(attributes.axis as number | number[], shape);
        const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
        const reduced = axes.reduce((product, axis) => product * (shape[axis] ?? 1), 1);
        const scaled = divisor(reduced) === 1 ? (dy as tf.Tensor) : tf.div(dy as tf.Tensor, divisor(reduced));
        // broadcastTo refuses empty shapes
        return shape.includes(0) ? tf.zeros(shape) : tf.broadcastTo(tf.reshape(scaled, kept), shape);
      },
    }),
  };
}
