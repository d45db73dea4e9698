// Two gradient kernels for the wasm engine, as loops over the backend's memory. UnsortedSegmentSum, the gradient of
// gather, adds up rows by segment number and leaves out rows whose number is outside the range. MaxPoolGrad gives each
// window's dy to the first of its largest inputs; the backend's own kernel is wrong for overlapping windows.

import * as tf from "@tensorflow/tfjs-core";
import { defineKernel } from "../../tfjs/registry.ts";
import { floats, integers, type WasmBackend } from "../../tfjs/wasm.ts";

/** Registers both kernels in place of the backend's own. */
export function registerGradients(): void {
  defineKernel(
    tf.UnsortedSegmentSum,
    "wasm",
    (
      { x, segmentIds }: { x: tf.TensorInfo; segmentIds: tf.TensorInfo },
      { numSegments }: { numSegments: number },
      backend: WasmBackend,
    ) => segmentSum(backend, x, segmentIds, numSegments),
  );
  defineKernel(
    tf.MaxPoolGrad,
    "wasm",
    (
      { dy, input }: { dy: tf.TensorInfo; input: tf.TensorInfo },
      { filterSize, strides, pad, dimRoundingMode }: PoolAttributes,
      backend: WasmBackend,
    ) => {
      const shape = input.shape as [number, number, number, number];
      const info = tf.backend_util.computePool2DInfo(shape, filterSize, strides, 1, pad, dimRoundingMode);
      return maxPoolGradient(backend, input, dy, info);
    },
  );
}

/** @param x (rows, ...); @param ids (rows), int32; @returns (segments, ...) */
function segmentSum(backend: WasmBackend, x: tf.TensorInfo, ids: tf.TensorInfo, segments: number): tf.TensorInfo {
  const [rows = 0, ...rest] = x.shape;
  const rowSize = tf.util.sizeFromShape(rest);
  const result = backend.makeOutput([segments, ...rest], x.dtype);
  const view = x.dtype === "float32" ? floats : integers;
  const sums = view(backend, result, segments * rowSize);
  const values = view(backend, x, rows * rowSize);
  const numbers = integers(backend, ids, rows);
  sums.fill(0);
  for (let row = 0; row < rows; row++) {
    const segment = numbers[row] as number;
    if (segment < 0 || segment >= segments) {
      continue;
    }
    const from = row * rowSize;
    const to = segment * rowSize;
    for (let column = 0; column < rowSize; column++) {
      sums[to + column] = (sums[to + column] as number) + (values[from + column] as number);
    }
  }
  return result;
}

interface PoolAttributes {
  filterSize: number | [number, number];
  strides: number | [number, number];
  pad: "valid" | "same" | number;
  dimRoundingMode?: "floor" | "round" | "ceil";
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

/** Compares one pixel of the window with the largest values so far, for all channels. */
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
