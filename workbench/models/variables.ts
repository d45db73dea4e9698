// Variables out of arrays and tensors, without a copy where there need be none.

import { type Tensor, tensor, tidy, type Variable, variable } from "@tensorflow/tfjs-core";

export interface VariableOptions {
  /** whether training changes it. Default true */
  trainable?: boolean;
}

/** Takes the tensor's values over; the tensor is disposed. */
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
