// Keeps TensorFlow.js's WebGPU backend from failing silently. WebGPU reports errors beside the program, and whatever was
// queued with the faulty command then reads as zeros. So a tensor larger than the device allows is refused before it is
// queued, any other error is thrown by every later read, and a synchronous read, which needs a browser's canvas, is
// refused in a sentence.

import * as tf from "@tensorflow/tfjs-core";
import { EngineError } from "../../core/errors.ts";

/** The part of the backend that is used here. */
export interface WebgpuBackend extends tf.KernelBackend {
  device: GPUDevice;
  tensorMap: { get(dataId: object): TensorData | undefined };
  commandEncoder: unknown;
  endComputePassEncoder(): void;
  submitQueue(): void;
  runWebGPUProgram(program: { outputShape: number[] }, inputs: tf.TensorInfo[], ...rest: unknown[]): tf.TensorInfo;
}

interface TensorData {
  values: tf.BackendValues | null | undefined;
  dtype: tf.DataType;
  shape: number[];
}

interface Guard {
  /** what WebGPU reported first; the following errors come from using what it left invalid */
  fault?: string | undefined;
}

const guards = new WeakMap<WebgpuBackend, Guard>();

/** Guards a backend, or, when it is guarded, forgets what it has reported. */
export function guardBackend(backend: WebgpuBackend): void {
  const known = guards.get(backend);
  if (known) {
    known.fault = undefined;
    return;
  }
  const guard: Guard = {};
  guards.set(backend, guard);
  guardPrograms(backend);
  guardReads(backend, guard);
  guardSynchronousReads(backend);
}

function guardPrograms(backend: WebgpuBackend): void {
  const { maxStorageBufferBindingSize: limit } = backend.device.limits;
  const run = backend.runWebGPUProgram.bind(backend);
  const check = (shape: readonly number[]) => {
    // Every type takes four bytes there.
    const bytes = 4 * tf.util.sizeFromShape([...shape]);
    if (bytes > limit) {
      throw new EngineError(
        `a tensor (${shape.join(", ")}) takes ${bytes} bytes, this WebGPU device allows ${limit} a tensor`,
        "use smaller batches, or another engine",
      );
    }
  };
  backend.runWebGPUProgram = (program, inputs, ...rest) => {
    check(program.outputShape);
    for (const { shape } of inputs) {
      check(shape);
    }
    return run(program, inputs, ...rest);
  };
}

function guardReads(backend: WebgpuBackend, guard: Guard): void {
  backend.device.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    guard.fault ??= event.error.message.split("\n")[0] ?? "an error without a message";
  });
  const read = backend.read.bind(backend);
  backend.read = async (dataId: object) => {
    const values = await read(dataId);
    if (guard.fault !== undefined) {
      throw new EngineError(
        `WebGPU reported an error, tensors computed since then are lost: ${guard.fault}`,
        "open the engine again and compute them anew",
      );
    }
    return values;
  };
}

function guardSynchronousReads(backend: WebgpuBackend): void {
  const readSync = backend.readSync.bind(backend);
  backend.readSync = (dataId: object) => {
    const data = backend.tensorMap.get(dataId);
    if (data && data.values == null && data.dtype !== "complex64") {
      if (tf.util.sizeFromShape(data.shape) === 0) {
        return tf.util.getTypedArrayFromDType(data.dtype as tf.NumericDataType, 0);
      }
      throw new EngineError('engine "webgpu" cannot read a tensor synchronously', "await its data() or array()");
    }
    return readSync(dataId);
  };
}
