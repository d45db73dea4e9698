// Whether the values of tensors are finite. Decompositions check this first, because with Infinity or NaN some of their
// implementations return NaN and others throw.

import { mul, sum, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";

/** Whether all values of a tensor are finite; true for an empty one. */
export async function isAllFinite(tensor: Tensor): Promise<boolean> {
  if (tensor.size === 0) return true;
  // 0 · x is NaN where x is not finite, and a sum propagates it; the max of some engines does not.
  const probe = tidy(() => sum(mul(tensor, 0)));
  const [zero] = await probe.data();
  probe.dispose();
  return zero === 0;
}

/**
 * Checks that all values of operands are finite.
 * @param operands operands by name, e.g. `{ matrix }`
 * @throws ShapeError such as `svd: matrix must be finite, it holds Infinity or NaN`
 */
export async function expectFinite(op: string, operands: Record<string, Tensor>): Promise<void> {
  for (const [name, tensor] of Object.entries(operands)) {
    if (!(await isAllFinite(tensor))) throw new ShapeError(`${op}: ${name} must be finite, it holds Infinity or NaN`);
  }
}
