// Checks dtype and shape of an op's operands before a kernel gets them, so that the error names the op and the operand.
// Free dimensions are given by name.

import type { DataType, Tensor } from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";

/**
 * What an operand must be. In `shape` a number must match, a string is a free dimension, a leading `...` any number of
 * them.
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
 * @param operands one operand by its name, e.g. `{ weight }`
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

/** @throws ShapeError such as `dropout: rate must be at least 0 and below 1, got 1.5` */
export function expectSetting(op: string, settings: Record<string, unknown>, requirement: string, met: boolean): void {
  if (!met) {
    const [name, value] = Object.entries(settings)[0] ?? [];
    throw new ShapeError(`${op}: ${name} must be ${requirement}, got ${String(value)}`);
  }
}
