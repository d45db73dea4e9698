// Keeps TensorFlow.js's WebGPU backend from failing silently. A tensor larger than the device allows makes WebGPU report
// an error beside the program, whose results then read as zeros: here the next read throws it. A synchronous read, which
// needs a browser's canvas, is refused in a sentence.

import * as tf from "@tensorflow/tfjs-core";
import { EngineError } from "./errors.ts";

/** The part of the backend that is used here. */
export interface WebgpuBackend extends tf.KernelBackend {
  device: GPUDevice;
  tensorMap: { get(dataId: object): TensorData | undefined };
  commandEncoder: unknown;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

interface TensorData {
  values: tf.BackendValues | null;
  dtype: tf.DataType;
  shape: number[];
}

const guarded = new WeakSet<WebgpuBackend>();

/** Idempotent. */
export function guardBackend(backend: WebgpuBackend): void {
  if (guarded.has(backend)) {
    return;
  }
  guarded.add(backend);
  guardSynchronousReads(backend);
  guardReads(backend);
}

function guardReads(backend: WebgpuBackend): void {
  let fault: string | undefined;
  backend.device.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    // The first says what was wrong; the following ones come from using what it left invalid.
    fault ??= event.error.message.split("\n")[0];
  });
  const read = backend.read.bind(backend);
  backend.read = async (dataId: object) => {
    const values = await read(dataId);
    if (fault !== undefined) {
      const message = fault;
      fault = undefined;
      throw new EngineError(
        `WebGPU could not compute: ${message}`,
        "use smaller tensors, or an engine without that limit",
      );
    }
    return values;
  };
}

function guardSynchronousReads(backend: WebgpuBackend): void {
  const readSync = backend.readSync.bind(backend);
  backend.readSync = (dataId: object) => {
    const data = backend.tensorMap.get(dataId);
    if (data && data.values === null && data.dtype !== "complex64") {
      if (tf.util.sizeFromShape(data.shape) === 0) {
        return tf.util.getTypedArrayFromDType(data.dtype as tf.NumericDataType, 0);
      }
      throw new EngineError('engine "webgpu" cannot read a tensor synchronously', "await its data() or array()");
    }
    return readSync(dataId);
  };
}
