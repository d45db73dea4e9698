// UnsortedSegmentSum (the gradient of gather: rows added up by number) for the wasm engine, as a loop over the backend's
// memory. Rows with a number outside the range are left out.

import * as tf from "@tensorflow/tfjs-core";
import { floats, integers, type WasmBackend } from "./wasm-memory.ts";

export function registerSegmentSum(): void {
  tf.registerKernel({
    kernelName: tf.UnsortedSegmentSum,
    backendName: "wasm",
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { x, segmentIds } = inputs as { x: tf.TensorInfo; segmentIds: tf.TensorInfo };
      const { numSegments } = attrs as unknown as { numSegments: number };
      return segmentSum(backend as WasmBackend, x, segmentIds, numSegments);
    },
  });
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
