// The type of a fused op's kernel on this backend: the inputs and attributes that ops/kernels.ts says it gets.

import type { TorchBackend } from "../backend.ts";
import type { Result, TorchKernel } from "../register.ts";

/** A kernel with its own inputs and attributes, as an entry of the kernel table. */
export function fusedKernel<Inputs, Attributes = unknown>(
  kernel: (inputs: Inputs, attributes: Attributes, backend: TorchBackend) => Result | Result[],
): TorchKernel {
  return kernel as unknown as TorchKernel;
}
