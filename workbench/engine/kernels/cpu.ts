// Mends, for the cpu engine, the gradients that TensorFlow.js's plain-JavaScript backend gets wrong.

import { registerAveragePoolGradient } from "./average-pool-gradient.ts";
import { registerResizeGradients } from "./resize-gradients.ts";

let registered = false;

/** Idempotent; the backend's own kernels must be registered before. */
export function registerCpuKernels(): void {
  if (!registered) {
    registered = true;
    registerAveragePoolGradient("cpu");
    registerResizeGradients("cpu");
  }
}
