// The gradient of 2-D max pooling for the wasm engine, as a loop over the backend's memory: each window gives its dy to
// the first of its largest inputs. The backend's own kernel gets overlapping windows wrong.

import * as tf from "@tensorflow/tfjs-core";
import { floats, type WasmBackend } from "./wasm-memory.ts";

interface PoolAttributes {
  filterSize: number | [number, number];
  strides: number | [number, number];
  pad: "valid" | "same" | number;
  dimRoundingMode?: "floor" | "round" | "ceil";
}

export function registerMaxPoolGradient(): void {
  tf.unregisterKernel(tf.MaxPoolGrad, "wasm");
  tf.registerKernel({
    kernelName: tf.MaxPoolGrad,
    backendName: "wasm",
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { dy, input } = inputs as { dy: tf.TensorInfo; input: tf.TensorInfo };
      const { filterSize, strides, pad, dimRoundingMode } = attrs as unknown as PoolAttributes;
      const shape = input.shape as [number, number, number, number];
      const info = tf.backend_util.computePool2DInfo(shape, filterSize, strides, 1, pad, dimRoundingMode);
      return maxPoolGradient(backend as WasmBackend, input, dy, info);
    },
  });
}

function maxPoolGradient(
  backend: WasmBackend,
  input: tf.TensorInfo,
  dy: tf.TensorInfo,
  info: tf.backend_util.Conv2DInfo,
): tf.TensorInfo {
  const { batchSize, inHeight, inWidth, inChannels: channels, outHeight, outWidth } = info;
  const result = backend.makeOutput(input.shape, "float32");
  const values = floats(backend, input, tf.util.sizeFromShape(input.shape));
  const incoming = floats(backend, dy, tf.util.sizeFromShape(dy.shape));
  const dx = floats(backend, result, values.length).fill(0);
  const largest = new Float32Array(channels);
  const where = new Int32Array(channels);
  for (let window = 0; window < batchSize * outHeight * outWidth; window++) {
    const batch = Math.floor(window / (outHeight * outWidth));
    const top = (Math.floor(window / outWidth) % outHeight) * info.strideHeight - info.padInfo.top;
    const left = (window % outWidth) * info.strideWidth - info.padInfo.left;
    largest.fill(Number.NEGATIVE_INFINITY);
    where.fill(-1);
    for (let y = Math.max(0, top); y < Math.min(inHeight, top + info.filterHeight); y++) {
      for (let x = Math.max(0, left); x < Math.min(inWidth, left + info.filterWidth); x++) {
        keepLargest(values, ((batch * inHeight + y) * inWidth + x) * channels, largest, where);
      }
    }
    addAt(dx, where, incoming, window * channels);
  }
  return result;
}

/** One pixel of the window, all its channels. */
function keepLargest(values: Float32Array, start: number, largest: Float32Array, where: Int32Array): void {
  for (let channel = 0; channel < largest.length; channel++) {
    const value = values[start + channel] as number;
    if (value > (largest[channel] as number)) {
      largest[channel] = value;
      where[channel] = start + channel;
    }
  }
}

function addAt(dx: Float32Array, where: Int32Array, incoming: Float32Array, start: number): void {
  for (let channel = 0; channel < where.length; channel++) {
    const at = where[channel] as number;
    if (at >= 0) {
      dx[at] = (dx[at] as number) + (incoming[start + channel] as number);
    }
  }
}
