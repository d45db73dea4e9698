// complex64 on the wasm engine, whose backend does not have it. A complex tensor is stored with interleaved real and
// imaginary parts in the backend's memory. The kernels here create it, split it into its parts and read it; the host
// computes everything else.

import { type TensorInfo, util } from "@tensorflow/tfjs-core";
import { defineKernel } from "../../tfjs/registry.ts";
import { floats, teachReading, type WasmBackend } from "../../tfjs/wasm.ts";

/** Adds the kernels Complex, Real and Imag, and lets the backend read complex tensors. */
export async function registerComplex(): Promise<void> {
  defineKernel("Complex", "wasm", joinParts);
  defineKernel("Real", "wasm", ({ input }: { input: TensorInfo }, _, backend: WasmBackend) => part(input, 0, backend));
  defineKernel("Imag", "wasm", ({ input }: { input: TensorInfo }, _, backend: WasmBackend) => part(input, 1, backend));
  await teachReading("complex64", (backend, info, size) => floats(backend, info, 2 * size));
}

function joinParts(
  { real, imag }: { real: TensorInfo; imag: TensorInfo },
  _: unknown,
  backend: WasmBackend,
): TensorInfo {
  const size = util.sizeFromShape(real.shape);
  const result = backend.makeOutput(real.shape, "complex64");
  const pairs = floats(backend, result, 2 * size);
  copyEvery(floats(backend, real, size), { step: 1 }, pairs, { step: 2 });
  copyEvery(floats(backend, imag, size), { step: 1 }, pairs.subarray(1), { step: 2 });
  return result;
}

/** @param first 0 for the real part, 1 for the imaginary part */
function part(input: TensorInfo, first: 0 | 1, backend: WasmBackend): TensorInfo {
  const size = util.sizeFromShape(input.shape);
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
