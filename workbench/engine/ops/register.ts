// Registers an op's portable composition as its kernel on every backend but torch, which has ATen kernels of its own.
// Compositions are made of tf.* operations and run off the tape; their temporaries are disposed here.

import { registerKernel, type Tensor, tidy } from "@tensorflow/tfjs-core";

const PORTABLE_BACKENDS = ["wasm", "cpu", "webgpu", "tensorflow"] as const;

/** A kernel's operands as a composition sees them; an optional one stays optional. */
type Tensors<Inputs> = { [Name in keyof Inputs]: Tensor };

/** `compute` gets the kernel's inputs and attributes and returns its outputs; `kernels.ts` tells both. */
export function registerPortable<Inputs, Attributes = unknown>(
  kernelName: string,
  compute: (inputs: Tensors<Inputs>, attributes: Attributes) => Tensor | Tensor[],
): void {
  for (const backendName of PORTABLE_BACKENDS) {
    registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs }) => tidy(() => compute(inputs as Tensors<Inputs>, attrs as Attributes)),
    });
  }
}
