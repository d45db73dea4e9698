// Access to the memory of TensorFlow.js's WebAssembly backend, for the kernels in backends/wasm: typed arrays over a
// tensor's values, tensors over a part of another's values, and the backend's functions by name. This is private state
// of @tensorflow/tfjs-backend-wasm, for which the rules in internals.ts apply.

import { type DataType, type KernelBackend, type TensorInfo, util } from "@tensorflow/tfjs-core";

/** The parts of the backend that kernels here use. */
export interface WasmBackend extends KernelBackend {
  wasm: {
    HEAPU8: Uint8Array;
    cwrap(name: string, result: null, parameters: readonly ("number" | "array")[]): (...args: unknown[]) => void;
    tfjs: {
      registerTensor(id: number, size: number, address: number): void;
      disposeData(id: number): void;
    };
  };
  dataIdMap: { get(dataId: object): { id: number; memoryOffset: number; shape: number[]; dtype: DataType } };
  dataIdNextNumber: number;
  makeOutput(shape: readonly number[], dtype: DataType): TensorInfo;
  disposeData(dataId: object): boolean;
  /** counts one more tensor with this data, which must be disposed of as well */
  incRef(dataId: object): void;
}

/** The backend's whole memory, in bytes. An allocation may replace it, so take it after the last allocation. */
export const memoryOf = (backend: WasmBackend): Uint8Array => backend.wasm.HEAPU8;

/** Where a tensor's values begin in the backend's memory, in bytes. */
export const addressOf = (backend: WasmBackend, { dataId }: TensorInfo): number =>
  backend.dataIdMap.get(dataId).memoryOffset;

/**
 * The values of a float32 tensor, as a view. An allocation may move the memory, so take the view after the last
 * allocation.
 */
export const floats = (backend: WasmBackend, info: TensorInfo, size: number): Float32Array =>
  new Float32Array(memoryOf(backend).buffer, addressOf(backend, info), size);

/** The values of an int32 tensor, as a view. Take it after the last allocation. */
export const integers = (backend: WasmBackend, info: TensorInfo, size: number): Int32Array =>
  new Int32Array(memoryOf(backend).buffer, addressOf(backend, info), size);

/** A tensor with the data of another one, without a copy. */
export function share({ dataId, shape, dtype }: TensorInfo, backend: WasmBackend): TensorInfo {
  backend.incRef(dataId);
  return { dataId, shape, dtype };
}

/**
 * Calls `use` with the id of a tensor over `size` float32 values of another, from value `start` on. Each call uses a
 * new id, because XNNPACK keeps a repacked copy of a matrix as long as its id exists.
 */
export function withPart<Result>(
  backend: WasmBackend,
  whole: TensorInfo,
  { start, size }: { start: number; size: number },
  use: (id: number) => Result,
): Result {
  const id = backend.dataIdNextNumber++;
  backend.wasm.tfjs.registerTensor(id, size, addressOf(backend, whole) + 4 * start);
  try {
    return use(id);
  } finally {
    backend.wasm.tfjs.disposeData(id);
  }
}

type RawFunction = (...args: unknown[]) => void;
const rawFunctions = new WeakMap<object, Map<string, RawFunction>>();

/** A function of the compiled module by its name. It is created once per module. */
export function rawFunction(
  { wasm }: WasmBackend,
  name: string,
  parameters: readonly ("number" | "array")[],
): RawFunction {
  const known = rawFunctions.get(wasm) ?? new Map<string, RawFunction>();
  rawFunctions.set(wasm, known);
  const found = known.get(name) ?? wasm.cwrap(name, null, parameters);
  known.set(name, found);
  return found;
}

/**
 * Makes the backend read tensors of a dtype that its class does not support.
 * @param read gets the tensor and its number of entries, and returns all its values
 */
export async function teachReading(
  readable: DataType,
  read: (backend: WasmBackend, info: TensorInfo, size: number) => Float32Array,
): Promise<void> {
  const { BackendWasm } = await import("@tensorflow/tfjs-backend-wasm");
  const { readSync } = BackendWasm.prototype;
  BackendWasm.prototype.readSync = function (dataId: object, start?: number, end?: number) {
    const { dtype, shape } = this.dataIdMap.get(dataId);
    if (dtype !== readable) return readSync.call(this, dataId, start, end);
    const values = read(this as unknown as WasmBackend, { dataId, dtype, shape }, util.sizeFromShape(shape));
    const each = values.length / Math.max(1, util.sizeFromShape(shape));
    return values.slice(each * (start ?? 0), end === undefined ? undefined : each * end);
  };
}
