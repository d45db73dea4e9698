// Kernels of the wasm engine that only move values: Slice, SplitV, Unpack, Tile, GatherV2, Identity and Cast. They copy
// ranges within the backend's memory. The backend's own kernels copy the whole input for each part that is taken out of
// it, tile and gather value by value (a hundred times slower on long rows), copy where a tensor could share the data of
// another (every tensor that a gradient saves passes through Identity), and cast to bool by keeping the lowest byte of
// a value.

import * as tf from "@tensorflow/tfjs-core";
import { defineKernel, type KernelResult, ownKernel, wrapKernel } from "../../tfjs/registry.ts";
import { addressOf, integers, memoryOf, share, type WasmBackend } from "../../tfjs/wasm.ts";

/** Registers these kernels in place of the backend's own. */
export function registerCopies(): void {
  defineKernel(tf.Slice, "wasm", slice);
  defineKernel(tf.SplitV, "wasm", split);
  defineKernel(tf.Unpack, "wasm", unstack);
  defineKernel(tf.Tile, "wasm", tile);
  defineKernel(tf.GatherV2, "wasm", gather);
  defineKernel(tf.Identity, "wasm", ({ x }: Input, _, backend: WasmBackend) => share(x, backend));
  const notEqual = ownKernel(tf.NotEqual, "wasm").kernelFunc;
  wrapKernel<Input, { dtype: tf.DataType }>(tf.Cast, "wasm", (call, own) => {
    const { x } = call.inputs;
    const backend = call.backend as WasmBackend;
    if (x.dtype === call.attrs.dtype) return share(x, backend);
    return call.attrs.dtype === "bool" ? isNotZero(x, notEqual, backend) : own(call);
  });
}

interface Input {
  x: tf.TensorInfo;
}

function slice({ x }: Input, attributes: { begin: number[]; size: number[] }, backend: WasmBackend): tf.TensorInfo {
  const parsed = tf.slice_util.parseSliceParams(x as tf.Tensor, attributes.begin, attributes.size);
  const [begin, size] = parsed as [number[], number[]];
  tf.slice_util.assertParamsValid(x as tf.Tensor, begin, size);
  return copySlice(x, begin, size, backend);
}

function split(
  { x }: Input,
  { numOrSizeSplits, axis }: { numOrSizeSplits: number | number[]; axis: number },
  backend: WasmBackend,
): tf.TensorInfo[] {
  const [along = 0] = tf.util.parseAxisParam(axis, x.shape);
  const lengths = tf.backend_util.prepareSplitSize(x as tf.Tensor, numOrSizeSplits, along);
  let start = 0;
  return lengths.map((length) => {
    const begin = x.shape.map((_, at) => (at === along ? start : 0));
    start += length;
    return copySlice(x, begin, x.shape.with(along, length), backend);
  });
}

function unstack(
  { value }: { value: tf.TensorInfo },
  { axis }: { axis: number },
  backend: WasmBackend,
): tf.TensorInfo[] {
  const along = axis < 0 ? axis + value.shape.length : axis;
  const shape = value.shape.toSpliced(along, 1);
  return Array.from({ length: value.shape[along] ?? 0 }, (_, position) => {
    const begin = value.shape.map((_, at) => (at === along ? position : 0));
    return { ...copySlice(value, begin, value.shape.with(along, 1), backend), shape };
  });
}

/** Copies a slice of x in the longest runs that are contiguous in memory. */
function copySlice(x: tf.TensorInfo, begin: number[], size: number[], backend: WasmBackend): tf.TensorInfo {
  const result = backend.makeOutput(size, x.dtype);
  const bytes = tf.util.bytesPerElement(x.dtype);
  const strides = [...tf.util.computeStrides(x.shape), 1].slice(0, x.shape.length);
  // The slice contains all of the axes after this one.
  let run = x.shape.length - 1;
  while (run > 0 && size[run] === x.shape[run]) {
    run--;
  }
  const runBytes = bytes * tf.util.sizeFromShape(size.slice(Math.max(run, 0)));
  const memory = memoryOf(backend);
  const source = addressOf(backend, x);
  let target = addressOf(backend, result);
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

/**
 * Copies one tile of the innermost axes and doubles it until the axis is full, then does the same for each outer axis.
 */
function tile({ x }: Input, { reps }: { reps: number[] }, backend: WasmBackend): tf.TensorInfo {
  const shape = x.shape.map((length, axis) => length * (reps[axis] ?? 1));
  const result = backend.makeOutput(shape, x.dtype);
  const bytes = tf.util.bytesPerElement(x.dtype);
  const memory = memoryOf(backend);
  // The axes after this one are not repeated.
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
    fillByDoubling(memory, to, once, once * (reps[axis] ?? 1));
  };
  if (tf.util.sizeFromShape(shape) > 0) {
    layOut(0, addressOf(backend, x), addressOf(backend, result));
  }
  return result;
}

/** Repeats the first `filled` bytes from `start` on until there are `wanted`. */
function fillByDoubling(memory: Uint8Array, start: number, filled: number, wanted: number): void {
  for (let done = filled; done < wanted; ) {
    const more = Math.min(done, wanted - done);
    memory.copyWithin(start + done, start, start + more);
    done += more;
  }
}

/** @throws Error when an index is outside the axis */
function gather(
  { x, indices }: Input & { indices: tf.TensorInfo },
  { axis, batchDims }: { axis: number; batchDims: number },
  backend: WasmBackend,
): tf.TensorInfo {
  const [parsedAxis = 0] = tf.util.parseAxisParam(axis, x.shape);
  const { outputShape, batchSize, outerSize, dimSize, sliceSize } =
    tf.backend_util.segment_util.collectGatherOpShapeInfo(x as tf.Tensor, indices as tf.Tensor, parsedAxis, batchDims);
  const count = tf.util.sizeFromShape(indices.shape) / batchSize;
  const result = backend.makeOutput(outputShape, x.dtype);
  const numbers = integers(backend, indices, batchSize * count);
  const bad = numbers.find((number) => number < 0 || number >= dimSize);
  if (bad !== undefined) {
    backend.disposeData(result.dataId);
    throw new Error(`GatherV2: the index value ${bad} is not in [0, ${dimSize - 1}]`);
  }
  const memory = memoryOf(backend);
  const rowBytes = sliceSize * tf.util.bytesPerElement(x.dtype);
  const source = addressOf(backend, x);
  let target = addressOf(backend, result);
  for (let batch = 0; batch < batchSize; batch++) {
    for (let outer = 0; outer < outerSize; outer++) {
      const from = source + (batch * outerSize + outer) * dimSize * rowBytes;
      for (let index = 0; index < count; index++) {
        const row = from + (numbers[batch * count + index] as number) * rowBytes;
        memory.copyWithin(target, row, row + rowBytes);
        target += rowBytes;
      }
    }
  }
  return result;
}

function isNotZero(x: tf.TensorInfo, notEqual: tf.KernelFunc, backend: WasmBackend): KernelResult {
  const values = tf.util.getTypedArrayFromDType(x.dtype as tf.NumericDataType, 1);
  const zero = { dataId: backend.write(values, [], x.dtype), shape: [], dtype: x.dtype };
  const result = notEqual({ inputs: { a: x, b: zero }, attrs: {}, backend });
  backend.disposeData(zero.dataId);
  return result;
}
