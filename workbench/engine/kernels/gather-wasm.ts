// GatherV2 (rows by number: every embedding) for the wasm engine, one memory copy a row. The backend's own goes value by
// value, a hundred times slower on long rows.

import * as tf from "@tensorflow/tfjs-core";
import { integers, type WasmBackend } from "./wasm-memory.ts";

export function registerGather(): void {
  if (tf.getKernel(tf.GatherV2, "wasm")) {
    tf.unregisterKernel(tf.GatherV2, "wasm");
  }
  tf.registerKernel({
    kernelName: tf.GatherV2,
    backendName: "wasm",
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { x, indices } = inputs as { x: tf.TensorInfo; indices: tf.TensorInfo };
      const { axis, batchDims } = attrs as unknown as { axis: number; batchDims: number };
      return gather(backend as WasmBackend, x, indices, { axis, batchDims });
    },
  });
}

/** @throws Error when an index is outside the axis */
function gather(
  backend: WasmBackend,
  x: tf.TensorInfo,
  indices: tf.TensorInfo,
  { axis, batchDims }: { axis: number; batchDims: number },
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
  const memory = backend.wasm.HEAPU8;
  const rowBytes = sliceSize * tf.util.bytesPerElement(x.dtype);
  const source = backend.dataIdMap.get(x.dataId).memoryOffset;
  let target = backend.dataIdMap.get(result.dataId).memoryOffset;
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
