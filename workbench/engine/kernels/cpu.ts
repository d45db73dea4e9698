// Mends, for the cpu engine, what TensorFlow.js's plain-JavaScript backend gets wrong: some gradients, sums that einsum makes
// of one operand alone, reductions over nothing, and stacks of matrices that broadcast against each other.

import { registerAveragePoolGradient } from "./average-pool-gradient.ts";
import { registerEinsum } from "./einsum.ts";
import { registerEmptyReductions } from "./empty-reductions.ts";
import { loadHost } from "./host-fallback.ts";
import { registerMatMulEdges } from "./matmul-edges.ts";
import { registerResizeGradients } from "./resize-gradients.ts";

let registered: Promise<void> | undefined;

/** Idempotent; the backend's own kernels must be registered before. */
export function registerCpuKernels(): Promise<void> {
  registered ??= register();
  return registered;
}

async function register(): Promise<void> {
  await loadHost();
  registerAveragePoolGradient("cpu");
  registerResizeGradients("cpu");
  registerEinsum("cpu");
  registerEmptyReductions("cpu");
  registerMatMulEdges("cpu");
}
