// complex64 on the wasm engine, which its backend does not know: a tensor is its real and imaginary parts interleaved in
// the backend's memory. Here are making one, taking it apart and reading it; the host computes the rest.

import * as tf from "@tensorflow/tfjs-core";
import { floats, type WasmBackend } from "./wasm-memory.ts";

export async function registerComplex(): Promise<void> {
  register(tf.Complex, ({ real, imag }, backend) => {
    const { shape } = real as tf.TensorInfo;
    const size = tf.util.sizeFromShape(shape);
    const result = backend.makeOutput(shape, "complex64");
    const pairs = floats(backend, result, 2 * size);
    copyEvery(floats(backend, real as tf.TensorInfo, size), { step: 1 }, pairs, { step: 2 });
    copyEvery(floats(backend, imag as tf.TensorInfo, size), { step: 1 }, pairs.subarray(1), { step: 2 });
    return result;
  });
  register(tf.Real, ({ input }, backend) => part(input as tf.TensorInfo, 0, backend));
  register(tf.Imag, ({ input }, backend) => part(input as tf.TensorInfo, 1, backend));
  await teachReading();
}

function register(
  kernelName: string,
  compute: (inputs: tf.NamedTensorInfoMap, backend: WasmBackend) => tf.TensorInfo,
): void {
  tf.registerKernel({
    kernelName,
    backendName: "wasm",
    kernelFunc: ({ inputs, backend }) => compute(inputs, backend as WasmBackend),
  });
}

function part(input: tf.TensorInfo, first: 0 | 1, backend: WasmBackend): tf.TensorInfo {
  const size = tf.util.sizeFromShape(input.shape);
  const result = backend.makeOutput(input.shape, "float32");
  const pairs = floats(backend, input, 2 * size);
  copyEvery(pairs.subarray(first), { step: 2 }, floats(backend, result, size), { step: 1 });
  return result;
}

function copyEvery(from: Float32Array, source: { step: number }, to: Float32Array, target: { step: number }): void {
  for (let i = 0, j = 0; i < from.length && j < to.length; i += source.step, j += target.step) {
    to[j] = from[i] as number;
  }
}

/** The backend's class refuses to read what it does not know. */
async function teachReading(): Promise<void> {
  const { BackendWasm } = await import("@tensorflow/tfjs-backend-wasm");
  const { readSync } = BackendWasm.prototype;
  BackendWasm.prototype.readSync = function (dataId: object, start?: number, end?: number) {
    const { dtype, shape } = this.dataIdMap.get(dataId);
    if (dtype !== "complex64") {
      return readSync.call(this, dataId, start, end);
    }
    const backend = this as unknown as WasmBackend;
    return floats(backend, { dataId, dtype, shape }, 2 * tf.util.sizeFromShape(shape)).slice(
      2 * (start ?? 0),
      end === undefined ? undefined : 2 * end,
    );
  };
}
