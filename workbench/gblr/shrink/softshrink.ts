// Softshrink: every width loses threshold times the learning rate, at every step, whatever the structure has become.

import { scalar } from "@tensorflow/tfjs-core";
import { expectNonNegative, expectRate, type RateOptions, type ShrinkRule } from "./rule.ts";
import { shiftRule } from "./shift-rule.ts";

export interface SoftshrinkOptions extends RateOptions {
  /** shift of widths for a learning rate of 1 */
  threshold: number;
}

/**
 * w ← clamp(softshrink(w, threshold · learningRate)): the proximal step of an l1 penalty on widths, arXiv 2310.18882,
 * Algorithm 1. Reads nothing from the device.
 * @throws ShapeError when a setting is out of range
 */
export function softshrink({ threshold, rate = 1 }: SoftshrinkOptions): ShrinkRule {
  expectNonNegative("softshrink", { threshold });
  expectRate("softshrink", rate);
  return shiftRule("softshrink", rate, (_, step) => scalar(threshold * step.learningRate));
}
