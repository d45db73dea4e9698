// Whether all entries of a matrix are numbers, asked before a decomposition that would never end or tell nonsense.

import { mul, sum, type Tensor, tidy } from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";

/**
 * @param operands one operand by its name, e.g. `{ matrix }`
 * @throws ShapeError such as `svd: matrix must be finite, it holds Infinity or NaN`
 */
export async function expectFinite(op: string, operands: Record<string, Tensor>): Promise<void> {
  for (const [name, tensor] of Object.entries(operands)) {
    if (tensor.size === 0) {
      continue;
    }
    // 0 · x is NaN wherever x is not finite, and a sum keeps it; some engines' max does not.
    const probe = tidy(() => sum(mul(tensor, 0)));
    const [zero] = await probe.data();
    probe.dispose();
    if (zero !== 0) {
      throw new ShapeError(`${op}: ${name} must be finite, it holds Infinity or NaN`);
    }
  }
}
