// TensorFlow.js's WebGPU backend: the private parts that are used here, and a guard that keeps it from failing
// silently. WebGPU reports errors asynchronously, and tensors that were queued with the faulty command then read as
// zeros. The guard throws an error before a tensor is queued that is larger than the device allows. It throws any other
// error at every later read. It also throws an error at a synchronous read, which would need a browser's canvas.
//
// @tensorflow/tfjs-backend-webgpu exports no version, so its private state is checked by the contract test alone.

import * as tf from "@tensorflow/tfjs-core";
import { EngineError } from "../core/errors.ts";

/** A compute shader as the backend runs it. */
export interface WebgpuProgram {
  variableNames: string[];
  outputShape: number[];
  shaderKey: string;
  workgroupSize: [number, number, number];
  dispatchLayout: { x: number[] };
  dispatch: [number, number, number];
  /** declares `uniforms.size`, the number of outputs */
  size: boolean;
  getUserCode(): string;
}

/** The parts of the backend that are used here. */
export interface WebgpuBackend extends tf.KernelBackend {
  device: GPUDevice;
  tensorMap: { get(dataId: object): TensorData | undefined };
  /** commands that are not submitted yet; null when there are none */
  commandEncoder: unknown;
  endComputePassEncoder(): void;
  submitQueue(): void;
  runWebGPUProgram(program: WebgpuProgram, inputs: tf.TensorInfo[], ...rest: unknown[]): tf.TensorInfo;
}

/** Submits what is queued and waits until the GPU has computed it. */
export async function drainQueue(backend: WebgpuBackend): Promise<void> {
  backend.endComputePassEncoder();
  if (backend.commandEncoder) {
    backend.submitQueue();
  }
  await backend.device.queue.onSubmittedWorkDone();
}

/** The maximum number of tensors that a program can bind in addition to its output. */
export const mostInputs = (backend: WebgpuBackend): number => backend.device.limits.maxStorageBuffersPerShaderStage - 1;

interface TensorData {
  values: tf.BackendValues | null | undefined;
  dtype: tf.DataType;
  shape: number[];
}

interface Guard {
  /** the first error that WebGPU reported; later errors are consequences of it */
  fault?: string | undefined;
}

const guards = new WeakMap<WebgpuBackend, Guard>();

/** Guards a backend. If the backend is guarded already, the reported error is cleared instead. */
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
    // Every dtype takes four bytes for each value.
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
