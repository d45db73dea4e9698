// Slice, SplitV, Unpack and Tile for the wasm engine, as copies within the backend's memory. Its own copy the whole input
// for each part that is taken out of it, and tile value by value.

import * as tf from "@tensorflow/tfjs-core";
import type { WasmBackend } from "./wasm-memory.ts";

type Compute = (x: tf.TensorInfo, attributes: never, backend: WasmBackend) => tf.TensorInfo | tf.TensorInfo[];

export function registerCopies(): void {
  const kernels: [string, string, Compute][] = [
    [tf.Slice, "x", slice],
    [tf.SplitV, "x", split],
    [tf.Unpack, "value", unstack],
    [tf.Tile, "x", tile],
  ];
  for (const [kernelName, input, compute] of kernels) {
    tf.unregisterKernel(kernelName, "wasm");
    tf.registerKernel({
      kernelName,
      backendName: "wasm",
      kernelFunc: ({ inputs, attrs, backend }) =>
        compute(inputs[input] as tf.TensorInfo, attrs as never, backend as WasmBackend),
    });
  }
}

function slice(x: tf.TensorInfo, attributes: { begin: number[]; size: number[] }, backend: WasmBackend): tf.TensorInfo {
  const parsed = tf.slice_util.parseSliceParams(x as tf.Tensor, attributes.begin, attributes.size);
  const [begin, size] = parsed as [number[], number[]];
  tf.slice_util.assertParamsValid(x as tf.Tensor, begin, size);
  return takeOut(x, begin, size, backend);
}

function split(
  x: tf.TensorInfo,
  { numOrSizeSplits, axis }: { numOrSizeSplits: number | number[]; axis: number },
  backend: WasmBackend,
): tf.TensorInfo[] {
  const [along = 0] = tf.util.parseAxisParam(axis, x.shape);
  const lengths = tf.backend_util.prepareSplitSize(x as tf.Tensor, numOrSizeSplits, along);
  let start = 0;
  return lengths.map((length) => {
    const begin = x.shape.map((_, at) => (at === along ? start : 0));
    start += length;
    return takeOut(x, begin, x.shape.with(along, length), backend);
  });
}

function unstack(value: tf.TensorInfo, { axis }: { axis: number }, backend: WasmBackend): tf.TensorInfo[] {
  const along = axis < 0 ? axis + value.shape.length : axis;
  const shape = value.shape.toSpliced(along, 1);
  return Array.from({ length: value.shape[along] ?? 0 }, (_, position) => {
    const begin = value.shape.map((_, at) => (at === along ? position : 0));
    return { ...takeOut(value, begin, value.shape.with(along, 1), backend), shape };
  });
}

/** Copies the longest runs that are contiguous in the input. */
function takeOut(x: tf.TensorInfo, begin: number[], size: number[], backend: WasmBackend): tf.TensorInfo {
  const result = backend.makeOutput(size, x.dtype);
  const bytes = tf.util.bytesPerElement(x.dtype);
  const strides = [...tf.util.computeStrides(x.shape), 1].slice(0, x.shape.length);
  // Behind this axis the slice takes everything.
  let run = x.shape.length - 1;
  while (run > 0 && size[run] === x.shape[run]) {
    run--;
  }
  const runBytes = bytes * tf.util.sizeFromShape(size.slice(Math.max(run, 0)));
  const memory = backend.wasm.HEAPU8;
  const source = backend.dataIdMap.get(x.dataId).memoryOffset;
  let target = backend.dataIdMap.get(result.dataId).memoryOffset;
  const copyFrom = (axis: number, offset: number): void => {
    const from = offset + (begin[axis] ?? 0) * (strides[axis] ?? 0) * bytes;
    if (axis >= run) {
      memory.copyWithin(target, from, from + runBytes);
      target += runBytes;
      return;
    }
    for (let position = 0; position < (size[axis] ?? 0); position++) {
      copyFrom(axis + 1, from + position * (strides[axis] ?? 0) * bytes);
    }
  };
  if (tf.util.sizeFromShape(size) > 0) {
    copyFrom(0, source);
  }
  return result;
}

/** Lays out one tile of the innermost axes, then doubles it until the axis is full; so for each axis outwards. */
function tile(x: tf.TensorInfo, { reps }: { reps: number[] }, backend: WasmBackend): tf.TensorInfo {
  const shape = x.shape.map((length, axis) => length * (reps[axis] ?? 1));
  const result = backend.makeOutput(shape, x.dtype);
  const bytes = tf.util.bytesPerElement(x.dtype);
  const memory = backend.wasm.HEAPU8;
  // Behind this axis nothing is repeated.
  let last = x.shape.length - 1;
  while (last > 0 && reps[last] === 1) {
    last--;
  }
  const blockOf = (dimensions: readonly number[], axis: number) =>
    bytes * tf.util.sizeFromShape(dimensions.slice(axis));
  const layOut = (axis: number, from: number, to: number): void => {
    const length = x.shape[axis] ?? 1;
    if (axis >= last) {
      memory.copyWithin(to, from, from + blockOf(x.shape, axis));
    } else {
      for (let position = 0; position < length; position++) {
        layOut(axis + 1, from + position * blockOf(x.shape, axis + 1), to + position * blockOf(shape, axis + 1));
      }
    }
    const once = length * blockOf(shape, axis + 1);
    double(memory, to, once, once * (reps[axis] ?? 1));
  };
  if (tf.util.sizeFromShape(shape) > 0) {
    layOut(0, backend.dataIdMap.get(x.dataId).memoryOffset, backend.dataIdMap.get(result.dataId).memoryOffset);
  }
  return result;
}

/** Repeats the first `filled` bytes from `start` on until there are `wanted`. */
function double(memory: Uint8Array, start: number, filled: number, wanted: number): void {
  for (let done = filled; done < wanted; ) {
    const more = Math.min(done, wanted - done);
    memory.copyWithin(start + done, start, start + more);
    done += more;
  }
}
