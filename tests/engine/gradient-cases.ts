// One small computation for every gradient that TensorFlow.js registers, and how to run it. What the results are compared
// with is the tests' business.

import * as tf from "@tensorflow/tfjs-core";
import type { GradientCase, Input } from "./gradient-case.ts";
import { ELEMENTWISE_CASES } from "./gradient-cases-elementwise.ts";
import { LAYER_CASES } from "./gradient-cases-layers.ts";

export const GRADIENT_CASES: readonly GradientCase[] = [...ELEMENTWISE_CASES, ...LAYER_CASES];

/** Numbers that look random and are the same everywhere. */
export function fill({ shape, low, high }: Omit<Input, "complex">, seed: number): Float32Array {
  return Float32Array.from({ length: tf.util.sizeFromShape(shape) }, (_, index) => {
    const wave = Math.sin((index + 1) * 12.9898 + seed * 78.233) * 43758.5453;
    return low + (high - low) * (wave - Math.floor(wave));
  });
}

function makeInput({ shape, complex }: Input, values: Float32Array): tf.Tensor {
  const real = tf.tensor(values, shape);
  return complex ? tf.complex(real, real) : real;
}

/** What one case gives: the value, then the gradient of Σ value·weights with respect to each input. */
export async function runCase({ inputs, compute }: GradientCase): Promise<Float32Array[]> {
  const results = tf.tidy(() => {
    const tensors = inputs.map((input, index) => makeInput(input, fill(input, index)));
    const value = compute(...tensors);
    const weights = tf.tensor(fill({ shape: value.shape, low: -1, high: 1 }, 99), value.shape);
    return [value, ...tf.grads((...xs) => compute(...xs))(tensors, weights)];
  });
  const read = await Promise.all(results.map(async (tensor) => Float32Array.from(await tensor.data())));
  tf.dispose(results);
  return read;
}

/** Σ value·weights of a case, as `runCase` differentiates it, summed in float64. */
export function lossOf({ inputs, compute }: GradientCase, values: readonly Float32Array[]): number {
  const result = tf.tidy(() =>
    compute(...inputs.map((input, index) => makeInput(input, values[index] as Float32Array))),
  );
  const weights = fill({ shape: result.shape, low: -1, high: 1 }, 99);
  const entries = Float64Array.from(result.dataSync());
  tf.dispose(result);
  return entries.reduce((sum, entry, index) => sum + entry * (weights[index] as number), 0);
}

/** The kernels of TensorFlow.js that have a gradient, of which it keeps no public list. */
export function registeredGradients(): string[] {
  const globals = (globalThis as unknown as { _tfGlobals: Map<string, Map<string, unknown>> })._tfGlobals;
  const own = new Set<unknown>(Object.values(tf));
  return [...(globals.get("gradRegistry")?.keys() ?? [])].filter((name) => own.has(name));
}
