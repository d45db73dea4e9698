// The shrink rules that remember nothing and shift every width by the same amount: what they share.

import { type Scalar, tidy } from "@tensorflow/tfjs-core";
import { APPLIED, isDue, NOT_DUE, type ShrinkLayer, type ShrinkRule, type ShrinkStep, STATELESS } from "./rule.ts";
import { shiftWidths } from "./shift-widths.ts";

/** A rule from its amount; `rate` is the number of batches from one application to the next. Reads nothing from the device. */
export function shiftRule(
  name: string,
  rate: number,
  amount: (layers: readonly ShrinkLayer[], step: ShrinkStep) => Scalar,
): ShrinkRule {
  return {
    name,
    ...STATELESS,
    async apply(layers, step) {
      if (!isDue(step, rate)) {
        return NOT_DUE;
      }
      tidy(() => shiftWidths(layers, amount(layers, step)));
      return APPLIED;
    },
  };
}
