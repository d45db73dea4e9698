// MeanShrink: holds the mean width at a target by taking the excess off every width. No threshold, no learning rate.

import { mul, relu, type Scalar, sub, tidy } from "@tensorflow/tfjs-core";
import { meanWidth } from "./mean-width.ts";
import {
  APPLIED,
  expectNonNegative,
  expectRate,
  expectTarget,
  isDue,
  NOT_DUE,
  type RateOptions,
  type ShrinkRule,
  STATELESS,
} from "./rule.ts";
import { shiftWidths } from "./shift-widths.ts";

export interface MeanShrinkOptions extends RateOptions {
  /** mean width to hold; what is below it stays */
  target: number;
  /** part of the excess that one application takes off. Default 1 */
  strength?: number;
}

/**
 * w ← clamp(w - strength · max(0, μ - target)), μ the mean width; the published GPT-2 setting. One application can end
 * on either side of the target: a width clamped at 0 loses less than the shift, and takes the other width of its block
 * out of the mean. Reads nothing from the device.
 * @throws ShapeError when a setting is out of range
 */
export function meanShrink({ target, strength = 1, rate = 1 }: MeanShrinkOptions): ShrinkRule {
  expectTarget("meanShrink", { target });
  expectNonNegative("meanShrink", { strength });
  expectRate("meanShrink", rate);
  return {
    name: "mean-shrink",
    ...STATELESS,
    async apply(layers, step) {
      if (!isDue(step, rate)) {
        return NOT_DUE;
      }
      tidy(() => {
        const excess = relu(sub<Scalar>(meanWidth(layers), target));
        shiftWidths(layers, mul(excess, strength));
      });
      return APPLIED;
    },
  };
}
