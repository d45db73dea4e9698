// Lets a backend that lacks a kernel use the one of TensorFlow.js's plain-JavaScript backend: the inputs are read to the
// host, computed there, and the results written back. For what is rare; a hot kernel deserves its own implementation.

import * as tf from "@tensorflow/tfjs-core";

/** Any of the tensors that a kernel gets may be a list of tensors. */
type KernelInputs = Record<string, tf.TensorInfo | readonly tf.TensorInfo[] | null | undefined>;
type HostBackend = tf.KernelBackend & { firstUse: boolean };
/** What is needed of the backend that lends the tensors; complex64 reads as interleaved real and imaginary parts. */
type DeviceBackend = Pick<tf.KernelBackend, "readSync" | "write" | "disposeData">;

let host: HostBackend | undefined;
/** As the package brings them: a replacement made of tf.* would not compute on the host. */
const hostKernels = new Map<string, tf.KernelFunc>();

/** To be called before any kernel of backend `cpu` is replaced. */
export async function loadHost(): Promise<void> {
  if (!host) {
    const { MathBackendCPU } = await import("@tensorflow/tfjs-backend-cpu");
    // Its own, apart from the one that tf.setBackend("cpu") would use: tensors here live for one kernel call.
    host = new MathBackendCPU() as unknown as HostBackend;
    host.firstUse = false;
    for (const { kernelName, kernelFunc } of tf.getKernelsForBackend("cpu")) {
      hostKernels.set(kernelName, kernelFunc);
    }
  }
}

function hostKernel(kernelName: string): tf.KernelFunc {
  const kernelFunc = hostKernels.get(kernelName);
  if (!kernelFunc) {
    throw new Error(`registerHostKernels: tfjs-backend-cpu has no kernel ${kernelName}`);
  }
  return kernelFunc;
}

/** When the host shall compute; the backend's own kernel does otherwise. */
export type HostCondition = (inputs: readonly tf.TensorInfo[], attributes: Record<string, unknown>) => boolean;

/**
 * Registers kernels of the plain-JavaScript backend for another backend, which must read tensors synchronously.
 * Replaces a kernel that is there already: entirely, or, given `when`, where that holds.
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
    const lent: tf.TensorInfo[] = [];
    const lend = (info: tf.TensorInfo): tf.TensorInfo => {
      // Some kernels read the rank, which tfjs itself only gives tensors.
      const copy = { ...toHost(info, device), rank: info.shape.length };
      lent.push(copy);
      return copy;
    };
    const result = compute({ inputs: mapInputs(inputs, lend), attrs, backend: host as HostBackend });
    const give = (info: tf.TensorInfo) => toDevice(info, device, backendName);
    const returned = Array.isArray(result) ? result.map(give) : give(result);
    for (const info of [...lent, result].flat()) {
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

function mapInputs(inputs: tf.NamedTensorInfoMap, lend: (info: tf.TensorInfo) => tf.TensorInfo): tf.NamedTensorInfoMap {
  // Kernels of many tensors (Concat, Pack) get a list instead of names.
  if (Array.isArray(inputs)) return inputs.map(lend) as unknown as tf.NamedTensorInfoMap;
  const mapped: KernelInputs = {};
  for (const [name, value] of Object.entries(inputs as KernelInputs)) {
    mapped[name] = Array.isArray(value) ? value.map(lend) : value && lend(value as tf.TensorInfo);
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
  const backend = host as HostBackend;
  if (dtype !== "complex64") {
    return makeInfo(backend, values, shape, dtype);
  }
  const parts = tf.backend_util.splitRealAndImagArrays(values as Float32Array);
  return joinComplex(hostKernel(tf.Complex), backend, shape, parts);
}

function toDevice({ dataId, shape, dtype }: tf.TensorInfo, device: DeviceBackend, backendName: string): tf.TensorInfo {
  const values = (host as HostBackend).readSync(dataId);
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
