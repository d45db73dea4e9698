// Kernels of TensorFlow.js's plain-JavaScript backend for a backend that lacks them: the inputs are read to the host,
// the kernel runs there, and the results are written back. For rare operations only.

import * as tf from "@tensorflow/tfjs-core";
import { silenceCpuBackend } from "../../tfjs/internals.ts";

/** Inputs of a kernel by name. Each may be a list of tensors. */
type KernelInputs = Record<string, tf.TensorInfo | readonly tf.TensorInfo[] | null | undefined>;
/**
 * The methods used of the backend whose kernel runs on the host. complex64 is read as interleaved real and imaginary
 * parts.
 */
type DeviceBackend = Pick<tf.KernelBackend, "readSync" | "write" | "disposeData">;

let host: tf.KernelBackend | undefined;
/**
 * The kernels of backend `cpu` as its package registers them. A replacement composed of tf.* operations would not
 * compute on the host.
 */
const hostKernels = new Map<string, tf.KernelFunc>();

/** Creates the host backend and stores its kernels. Must be called before any kernel of backend `cpu` is replaced. */
export async function loadHost(): Promise<void> {
  if (!host) {
    const { MathBackendCPU } = await import("@tensorflow/tfjs-backend-cpu");
    // This is not the instance that tf.setBackend("cpu") uses, because tensors here exist only during one kernel call.
    host = silenceCpuBackend(new MathBackendCPU());
    for (const { kernelName, kernelFunc } of tf.getKernelsForBackend("cpu")) {
      hostKernels.set(kernelName, kernelFunc);
    }
  }
}

function hostKernel(kernelName: string): tf.KernelFunc {
  const kernelFunc = hostKernels.get(kernelName);
  if (!kernelFunc) {
    throw new Error(`backend cpu has no kernel ${kernelName}`);
  }
  return kernelFunc;
}

/** Whether the host computes a call. Otherwise the backend's own kernel does. */
export type HostCondition = (inputs: readonly tf.TensorInfo[], attributes: Record<string, unknown>) => boolean;

/**
 * Registers kernels of the plain-JavaScript backend for another backend, which must be able to read tensors
 * synchronously.
 * @param when calls for which the backend's own kernel, if it has one, is replaced. Default all
 */
export async function registerHostKernels(
  backendName: string,
  kernelNames: readonly string[],
  when?: HostCondition,
): Promise<void> {
  await loadHost();
  for (const kernelName of kernelNames) {
    const own = tf.getKernel(kernelName, backendName);
    const onHost = hostKernelFunc(kernelName, backendName);
    if (own) {
      tf.unregisterKernel(kernelName, backendName);
    }
    const choose: tf.KernelFunc = (call) => {
      const pick = own && when && !when(flatten(call.inputs), call.attrs ?? {}) ? own.kernelFunc : onHost;
      return pick(call);
    };
    tf.registerKernel({ ...own, kernelName, backendName, kernelFunc: own && when ? choose : onHost });
  }
}

function hostKernelFunc(kernelName: string, backendName: string): tf.KernelFunc {
  const compute = hostKernel(kernelName);
  return ({ inputs, attrs, backend }) => {
    const device = backend as DeviceBackend;
    const copies: tf.TensorInfo[] = [];
    const copyToHost = (info: tf.TensorInfo): tf.TensorInfo => {
      // Some kernels read the rank, which a TensorInfo does not have.
      const copy = { ...toHost(info, device), rank: info.shape.length };
      copies.push(copy);
      return copy;
    };
    const result = compute({ inputs: mapInputs(inputs, copyToHost), attrs, backend: host as tf.KernelBackend });
    const copyBack = (info: tf.TensorInfo) => toDevice(info, device, backendName);
    const returned = Array.isArray(result) ? result.map(copyBack) : copyBack(result);
    for (const info of [...copies, result].flat()) {
      host?.disposeData(info.dataId);
    }
    return returned;
  };
}

function flatten(inputs: tf.NamedTensorInfoMap): tf.TensorInfo[] {
  return Object.values(inputs as KernelInputs)
    .flat()
    .filter((info): info is tf.TensorInfo => info != null);
}

function mapInputs(
  inputs: tf.NamedTensorInfoMap,
  copyToHost: (info: tf.TensorInfo) => tf.TensorInfo,
): tf.NamedTensorInfoMap {
  // Kernels of many tensors (Concat, Pack) get a list instead of names.
  if (Array.isArray(inputs)) return inputs.map(copyToHost) as object as tf.NamedTensorInfoMap;
  const mapped: KernelInputs = {};
  for (const [name, value] of Object.entries(inputs as KernelInputs)) {
    mapped[name] = Array.isArray(value) ? value.map(copyToHost) : value && copyToHost(value as tf.TensorInfo);
  }
  return mapped as tf.NamedTensorInfoMap;
}

function makeInfo(
  backend: DeviceBackend,
  values: tf.BackendValues,
  shape: number[],
  dtype: tf.DataType,
): tf.TensorInfo {
  return { dataId: backend.write(values, shape, dtype), shape, dtype };
}

function toHost({ dataId, shape, dtype }: tf.TensorInfo, device: DeviceBackend): tf.TensorInfo {
  const values = device.readSync(dataId);
  const backend = host as tf.KernelBackend;
  if (dtype !== "complex64") {
    return makeInfo(backend, values, shape, dtype);
  }
  const parts = tf.backend_util.splitRealAndImagArrays(values as Float32Array);
  return joinComplex(hostKernel(tf.Complex), backend, shape, parts);
}

function toDevice({ dataId, shape, dtype }: tf.TensorInfo, device: DeviceBackend, backendName: string): tf.TensorInfo {
  const values = (host as tf.KernelBackend).readSync(dataId);
  if (dtype !== "complex64") {
    return makeInfo(device, values, shape, dtype);
  }
  const join = tf.getKernel(tf.Complex, backendName);
  if (!join) {
    throw new Error(`backend ${backendName} has no kernel ${tf.Complex}`);
  }
  const parts = tf.backend_util.splitRealAndImagArrays(values as Float32Array);
  return joinComplex(join.kernelFunc, device, shape, parts);
}

function joinComplex(
  join: tf.KernelFunc,
  backend: DeviceBackend,
  shape: number[],
  parts: { real: Float32Array; imag: Float32Array },
): tf.TensorInfo {
  const real = makeInfo(backend, parts.real, shape, "float32");
  const imag = makeInfo(backend, parts.imag, shape, "float32");
  const joined = join({ inputs: { real, imag }, attrs: {}, backend: backend as tf.KernelBackend }) as tf.TensorInfo;
  backend.disposeData(real.dataId);
  backend.disposeData(imag.dataId);
  return joined;
}
