// Creates variables from arrays and tensors, without a copy where possible, and replaces entries in ordered maps.

import { slice, type Tensor, tensor, tidy, type Variable, variable } from "@tensorflow/tfjs-core";

export interface VariableOptions {
  /** whether gradients are computed for it. Default true */
  trainable?: boolean;
}

/** Creates a variable that takes over the tensor's memory; disposes of the tensor. */
export function variableOf(values: Tensor, { trainable = true }: VariableOptions = {}): Variable {
  const held = tidy(() => variable(values, trainable));
  values.dispose();
  return held;
}

/** Creates a variable from an array: int32 for an Int32Array, else float32. */
export function variableFrom(
  values: Float32Array | Int32Array,
  shape: readonly number[],
  options: VariableOptions = {},
): Variable {
  const dtype = values instanceof Int32Array ? "int32" : "float32";
  return variableOf(tensor(values, [...shape], dtype), options);
}

/**
 * Copies a tensor into row-major order, the order of loaded parameters, and disposes of the original. Engines can
 * compute on views such as transposes, but they sum in another order, so results would not be bit-identical after
 * saving and loading.
 */
export function rowByRow<T extends Tensor>(values: T): T {
  const start = values.shape.map(() => 0);
  const copy = tidy(() => slice(values, start, values.shape));
  values.dispose();
  return copy as T;
}

/** Replaces entries by new ones at the position of the first, so that parameters and layers keep their order. */
export function replaceEntries<V>(
  map: Map<string, V>,
  old: readonly string[],
  added: Iterable<readonly [string, V]>,
): void {
  const entries = [...map];
  const at = entries.findIndex(([name]) => name === old[0]);
  const others = entries.filter(([name]) => !old.includes(name));
  map.clear();
  for (const [name, value] of [...others.slice(0, at), ...added, ...others.slice(at)]) map.set(name, value);
}
