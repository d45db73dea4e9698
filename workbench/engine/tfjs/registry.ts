// TensorFlow.js's registry of kernels, one for each kernel name and backend: adding a kernel, replacing one and
// wrapping the backend's own. The registry types the inputs and attributes of all kernels as maps; here each kernel
// states its own.

import {
  getKernel,
  type KernelBackend,
  type KernelConfig,
  type KernelFunc,
  registerKernel,
  type TensorInfo,
  unregisterKernel,
} from "@tensorflow/tfjs-core";

/** What a kernel returns: one output or several. */
export type KernelResult = TensorInfo | TensorInfo[];

/** What a kernel is called with. */
export interface KernelCall<Inputs = object, Attributes = object> {
  inputs: Inputs;
  attrs: Attributes;
  backend: KernelBackend;
}

/** A backend's own kernel, for the kernel that wraps it. */
export type OwnKernel = (call: KernelCall) => KernelResult;

/** @throws Error when the backend has no such kernel */
export function ownKernel(kernelName: string, backendName: string): KernelConfig {
  const own = getKernel(kernelName, backendName);
  if (!own) throw new Error(`backend ${backendName} has no kernel ${kernelName}`);
  return own;
}

/** Registers a kernel, in place of the one that the backend may have. */
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
 * Registers a kernel that decides at each call whether to use the backend's own, which it replaces.
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
  // The backend's own set-up of the kernel stays.
  registerKernel({ ...config, kernelFunc });
}
