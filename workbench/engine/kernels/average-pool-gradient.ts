// Mends the gradient of average pooling at padded borders. TensorFlow.js divides there by the number of inputs that a
// window really covers when it goes forward, but by the window's full size when it goes back; here dy is scaled by the
// ratio of the two before the backend's own kernel gets it.

import * as tf from "@tensorflow/tfjs-core";

type Pad = "valid" | "same" | number;

interface PoolAttributes {
  filterSize: number | [number, number];
  strides: number | [number, number];
  pad: Pad;
  dimRoundingMode?: "floor" | "round" | "ceil";
}

/** Wraps the backend's own gradient of 2-D average pooling. */
export function registerAveragePoolGradient(backendName: string): void {
  const own = tf.getKernel(tf.AvgPoolGrad, backendName);
  if (!own) {
    throw new Error(`registerAveragePoolGradient: backend ${backendName} has no kernel ${tf.AvgPoolGrad}`);
  }
  tf.unregisterKernel(tf.AvgPoolGrad, backendName);
  tf.registerKernel({
    ...own,
    kernelFunc: (call) => {
      const { dy, input } = call.inputs as unknown as { dy: tf.Tensor4D; input: tf.Tensor4D };
      const factors = borderFactors(input.shape, call.attrs as unknown as PoolAttributes);
      if (factors.every((factor) => factor === 1)) {
        return own.kernelFunc(call);
      }
      const scaled = tf.tidy(() => tf.mul(dy, tf.tensor(factors, [1, dy.shape[1], dy.shape[2], 1])));
      const gradient = own.kernelFunc({ ...call, inputs: { ...call.inputs, dy: scaled } });
      tf.dispose(scaled);
      return gradient;
    },
  });
}

/** @returns for each output position, row by row, the window's size over the number of inputs in it */
function borderFactors(inputShape: [number, number, number, number], attributes: PoolAttributes): Float32Array {
  const { filterSize, strides, pad, dimRoundingMode } = attributes;
  const info = tf.backend_util.computePool2DInfo(inputShape, filterSize, strides, 1, pad, dimRoundingMode);
  const rows = covered(info.outHeight, info.strideHeight, info.padInfo.top, info.filterHeight, info.inHeight);
  const columns = covered(info.outWidth, info.strideWidth, info.padInfo.left, info.filterWidth, info.inWidth);
  const size = info.filterHeight * info.filterWidth;
  return Float32Array.from(rows.flatMap((row) => columns.map((column) => size / (row * column))));
}

function covered(count: number, stride: number, pad: number, window: number, size: number): number[] {
  return Array.from({ length: count }, (_, position) => {
    const start = position * stride - pad;
    return Math.min(start + window, size) - Math.max(start, 0);
  });
}
