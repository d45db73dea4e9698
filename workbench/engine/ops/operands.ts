// Checks the dtype and shape of an op's operands before its kernel runs, so that the error names the op and the
// operand.

import type { DataType, Tensor } from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";

/**
 * The required dtype and shape of an operand. In `shape`, a number is a fixed dimension and a string names a free
 * dimension for the error. A leading `...` stands for any number of free dimensions.
 */
export interface Expected {
  dtype: DataType;
  shape: readonly (number | string)[];
}

function fits(shape: readonly number[], expected: readonly (number | string)[]): boolean {
  const open = expected[0] === "...";
  const named = open ? expected.length - 1 : expected.length;
  const extra = shape.length - named;
  if (open ? extra < 0 : extra !== 0) {
    return false;
  }
  for (let i = 1; i <= named; i++) {
    const wanted = expected[expected.length - i];
    if (typeof wanted === "number" && wanted !== shape[shape.length - i]) {
      return false;
    }
  }
  return true;
}

const printed = (dtype: string, shape: readonly (number | string)[]) => `${dtype} (${shape.join(", ")})`;

/**
 * Checks that operands are live tensors of the expected dtype and shape.
 * @param op name of the op, for the error
 * @param operands operands by name, e.g. `{ weight }`
 * @throws ShapeError such as `linear: weight must be float32 (n_out, 48), got float32 (96, 40)`
 */
export function expectOperand(op: string, operands: Record<string, Tensor>, expected: Expected): void {
  for (const name in operands) {
    const tensor = operands[name] as Tensor;
    if (tensor.isDisposed) {
      throw new ShapeError(`${op}: ${name} is disposed, keep it with tf.keep or move the call into its tidy`);
    }
    if (tensor.dtype !== expected.dtype || !fits(tensor.shape, expected.shape)) {
      const wanted = printed(expected.dtype, expected.shape);
      throw new ShapeError(`${op}: ${name} must be ${wanted}, got ${printed(tensor.dtype, tensor.shape)}`);
    }
  }
}

/**
 * Checks that a setting meets its requirement.
 * @param op name of the op, for the error
 * @param settings the setting by its name, e.g. `{ rate }`
 * @param requirement the requirement in words, for the error
 * @param met whether the setting meets it
 * @throws ShapeError such as `dropout: rate must be at least 0 and below 1, got 1.5`
 */
export function expectSetting(op: string, settings: Record<string, unknown>, requirement: string, met: boolean): void {
  if (!met) {
    const [name, value] = Object.entries(settings)[0] ?? [];
    throw new ShapeError(`${op}: ${name} must be ${requirement}, got ${String(value)}`);
  }
}
