// AdaptiveSoftshrink: a fixed threshold first, later the targeted rule's, and between the two a linear passage.

import { add, mul, type Scalar, tidy } from "@tensorflow/tfjs-core";
import { ShapeError } from "../../engine/core/errors.ts";
import { expectSetting } from "../../engine/ops/operands.ts";
import { epochsSoFar, progressOf, type TrainingTime } from "../sigma-schedule.ts";
import { meanWidth } from "./mean-width.ts";
import { expectNonNegative, expectRate, type RateOptions, type ShrinkRule } from "./rule.ts";
import { shiftRule } from "./shift-rule.ts";
import { expectTargetOptions, type TargetOptions, targetedThreshold } from "./targeted-softshrink.ts";

export interface AdaptiveSoftshrinkOptions extends TargetOptions, RateOptions {
  /** until `startEpoch`; this or `startMultiple` */
  startThreshold?: number;
  /** the same as a multiple of `threshold` */
  startMultiple?: number;
  /** end of the fixed threshold, epochs from 0, fractions allowed */
  startEpoch: number;
  /** from here on the targeted rule alone */
  endEpoch: number;
}

/**
 * The threshold in force: (1 - f) · startThreshold + f · targetedThreshold(μ), f the share of the passage from
 * `startEpoch` to `endEpoch` that is over, batches included.
 * @param mean μ, a float32 scalar
 * @returns float32 scalar
 */
export function adaptiveThreshold(mean: Scalar, options: AdaptiveSoftshrinkOptions, time: TrainingTime): Scalar {
  const passed = progressOf(epochsSoFar(time), options.startEpoch, options.endEpoch);
  const start = startThresholdOf(options);
  return tidy("adaptiveThreshold", () =>
    add<Scalar>(mul(targetedThreshold(mean, options), passed), (1 - passed) * start),
  );
}

function startThresholdOf({ threshold, startThreshold, startMultiple }: AdaptiveSoftshrinkOptions): number {
  if ((startThreshold === undefined) === (startMultiple === undefined)) {
    throw new ShapeError("adaptiveSoftshrink: give either startThreshold or startMultiple, one of the two");
  }
  return startThreshold ?? threshold * (startMultiple as number);
}

/**
 * w ← clamp(softshrink(w, adaptiveThreshold(μ) · learningRate)), μ the mean width. Reads nothing from the device.
 * @throws ShapeError when a setting is out of range
 */
export function adaptiveSoftshrink(options: AdaptiveSoftshrinkOptions): ShrinkRule {
  const { startEpoch, endEpoch, rate = 1 } = options;
  expectTargetOptions("adaptiveSoftshrink", options);
  expectNonNegative("adaptiveSoftshrink", { startThreshold: startThresholdOf(options) });
  expectSetting("adaptiveSoftshrink", { endEpoch }, `at least startEpoch ${startEpoch}`, endEpoch >= startEpoch);
  expectRate("adaptiveSoftshrink", rate);
  return shiftRule("adaptive-softshrink", rate, (layers, step) =>
    mul(adaptiveThreshold(meanWidth(layers), options, step), step.learningRate),
  );
}
