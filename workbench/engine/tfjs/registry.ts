// Adds, replaces and wraps kernels in the registry of TensorFlow.js, which has one kernel per kernel name and backend.
// The registry types the inputs and attributes of all kernels as maps; here each kernel declares its own types.

import {
  getKernel,
  type KernelBackend,
  type KernelConfig,
  type KernelFunc,
  registerKernel,
  type TensorInfo,
  unregisterKernel,
} from "@tensorflow/tfjs-core";

/** The outputs of a kernel: one or several. */
export type KernelResult = TensorInfo | TensorInfo[];

/** The arguments of a kernel. */
export interface KernelCall<Inputs = object, Attributes = object> {
  inputs: Inputs;
  attrs: Attributes;
  backend: KernelBackend;
}

/** The backend's own kernel, as it is passed to the kernel that wraps it. */
export type OwnKernel = (call: KernelCall) => KernelResult;

/**
 * The kernel that a backend has under this name.
 * @throws Error when the backend has no such kernel
 */
export function ownKernel(kernelName: string, backendName: string): KernelConfig {
  const own = getKernel(kernelName, backendName);
  if (!own) throw new Error(`backend ${backendName} has no kernel ${kernelName}`);
  return own;
}

/** Registers a kernel. If the backend has a kernel of this name, it is replaced. */
export function defineKernel<Inputs, Attributes = unknown, Backend = KernelBackend>(
  kernelName: string,
  backendName: string,
  compute: (inputs: Inputs, attributes: Attributes, backend: Backend) => KernelResult,
): void {
  if (getKernel(kernelName, backendName)) unregisterKernel(kernelName, backendName);
  registerKernel({
    kernelName,
    backendName,
    kernelFunc: ({ inputs, attrs, backend }) =>
      compute(inputs as unknown as Inputs, attrs as unknown as Attributes, backend as unknown as Backend),
  });
}

/**
 * Replaces the backend's own kernel by one that decides at each call whether to use it.
 * @throws Error when the backend has no such kernel
 */
export function wrapKernel<Inputs = object, Attributes = object>(
  kernelName: string,
  backendName: string,
  wrap: (call: KernelCall<Inputs, Attributes>, own: OwnKernel) => KernelResult,
): void {
  const config = ownKernel(kernelName, backendName);
  const own = config.kernelFunc as unknown as OwnKernel;
  const kernelFunc = ((call: KernelCall<Inputs, Attributes>) => wrap(call, own)) as unknown as KernelFunc;
  unregisterKernel(kernelName, backendName);
  // `config` also has the backend's own setup of the kernel, which is kept.
  registerKernel({ ...config, kernelFunc });
}
