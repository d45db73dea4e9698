// How kernels written here reach the memory of TensorFlow.js's WebAssembly backend: typed arrays over a tensor's values,
// and tensors over a part of another's values, without a copy. Computes nothing.

import type * as tf from "@tensorflow/tfjs-core";

/** The part of that backend that is used here. */
export interface WasmBackend extends tf.KernelBackend {
  wasm: {
    HEAPU8: Uint8Array;
    cwrap(name: string, result: null, parameters: readonly ("number" | "array")[]): (...args: unknown[]) => void;
    tfjs: {
      registerTensor(id: number, size: number, address: number): void;
      disposeData(id: number): void;
    };
  };
  dataIdMap: { get(dataId: object): { id: number; memoryOffset: number } };
  dataIdNextNumber: number;
  makeOutput(shape: readonly number[], dtype: tf.DataType): tf.TensorInfo;
  disposeData(dataId: object): boolean;
  /** one more tensor with this data, to be disposed as well */
  incRef(dataId: object): void;
}

/** The values of a float32 tensor. Any allocation may move the memory: take the array after the last one. */
export function floats(backend: WasmBackend, { dataId }: tf.TensorInfo, size: number): Float32Array {
  return new Float32Array(backend.wasm.HEAPU8.buffer, backend.dataIdMap.get(dataId).memoryOffset, size);
}

/** The values of an int32 tensor, on the same condition. */
export function integers(backend: WasmBackend, { dataId }: tf.TensorInfo, size: number): Int32Array {
  return new Int32Array(backend.wasm.HEAPU8.buffer, backend.dataIdMap.get(dataId).memoryOffset, size);
}

/**
 * Calls `use` with the id of a tensor over `size` float32 values of another, from value `start` on. The id is a fresh one
 * each time: XNNPACK keeps a repacked copy of a matrix for as long as its id lives.
 */
export function withPart<Result>(
  backend: WasmBackend,
  whole: tf.TensorInfo,
  { start, size }: { start: number; size: number },
  use: (id: number) => Result,
): Result {
  const id = backend.dataIdNextNumber++;
  backend.wasm.tfjs.registerTensor(id, size, backend.dataIdMap.get(whole.dataId).memoryOffset + 4 * start);
  try {
    return use(id);
  } finally {
    backend.wasm.tfjs.disposeData(id);
  }
}
