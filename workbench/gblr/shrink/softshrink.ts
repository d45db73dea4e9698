// Softshrink: every width loses threshold times the learning rate, at every step, whatever the structure has become.

import { scalar, tidy } from "@tensorflow/tfjs-core";
import {
  APPLIED,
  expectNonNegative,
  expectRate,
  isDue,
  NOT_DUE,
  type RateOptions,
  type ShrinkRule,
  STATELESS,
} from "./rule.ts";
import { shiftWidths } from "./shift-widths.ts";

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
  return {
    name: "softshrink",
    ...STATELESS,
    async apply(layers, step) {
      if (!isDue(step, rate)) {
        return NOT_DUE;
      }
      tidy(() => shiftWidths(layers, scalar(threshold * step.learningRate)));
      return APPLIED;
    },
  };
}
