// What a gradient case is: a small computation as data. The cases themselves: gradient-cases.ts.

import type * as tf from "@tensorflow/tfjs-core";

export interface Input {
  shape: number[];
  low: number;
  high: number;
  /** real and imaginary part alike, instead of float32 */
  complex?: true;
}

export interface GradientCase {
  /** the kernel whose gradient it runs */
  kernel: string;
  /** TensorFlow.js's gradient is not the derivative: it passes through steps, or leaves terms out */
  notSlope?: true;
  inputs: Input[];
  compute: (...inputs: tf.Tensor[]) => tf.Tensor;
}

export const of = (shape: number[], low = -2, high = 2): Input => ({ shape, low, high });
