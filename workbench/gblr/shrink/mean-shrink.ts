// MeanShrink: holds the mean width at a target by taking the excess off every width. No threshold, no learning rate.

import { mul, relu, type Scalar, sub } from "@tensorflow/tfjs-core";
import { meanWidth } from "./mean-width.ts";
import { expectNonNegative, expectRate, expectTarget, type RateOptions, type ShrinkRule } from "./rule.ts";
import { shiftRule } from "./shift-rule.ts";

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
  return shiftRule("mean-shrink", rate, (layers) => {
    const excess = relu(sub<Scalar>(meanWidth(layers), target));
    return mul(excess, strength);
  });
}
