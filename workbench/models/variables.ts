// Makes variables of arrays and tensors, without a copy where possible, and keeps their order in a model.

import { slice, type Tensor, tensor, tidy, type Variable, variable } from "@tensorflow/tfjs-core";

export interface VariableOptions {
  /** default true */
  trainable?: boolean;
}

/** Takes the tensor's memory over; the tensor is disposed. */
export function variableOf(values: Tensor, { trainable = true }: VariableOptions = {}): Variable {
  const held = tidy(() => variable(values, trainable));
  values.dispose();
  return held;
}

export function variableFrom(
  values: Float32Array | Int32Array,
  shape: readonly number[],
  options: VariableOptions = {},
): Variable {
  const dtype = values instanceof Int32Array ? "int32" : "float32";
  return variableOf(tensor(values, [...shape], dtype), options);
}

/**
 * A copy with row-major values, as a loaded parameter has them; the tensor is disposed. Engines also compute on views such
 * as transposes, but in another order, so that a model would not give the same bits after it is saved and loaded.
 */
export function rowByRow<T extends Tensor>(values: T): T {
  const start = values.shape.map(() => 0);
  const copy = tidy(() => slice(values, start, values.shape));
  values.dispose();
  return copy as T;
}

/** Replaces old entries by new ones at the place of the first, so that parameters and layers keep their order. */
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
