// The shrink rules of the paper and of its reference implementation. Each subtracts one shift from all widths, clamps
// them to [0, 1] and wraps locations. They differ in the shift. With λ = threshold · learning rate and μ the mean
// width:
//
//   softshrink           λ                                                       arXiv 2310.18882, equations 8 and 9
//   targetedSoftshrink   λ while μ ≥ target, optionally scaled down near it      reference
//   adaptiveSoftshrink   a fixed threshold first, later the targeted one         reference
//   meanShrink           max(0, μ - target)                                      reference; the published GPT-2 setting
//
// Every operation is rounded to float32, as on an engine.

import { expectSetting } from "../../engine/ops/operands.ts";
import { epochsSoFar, progressOf, type TrainingTime } from "../schedules.ts";
import { type BlockArrays, expectNonNegative, type ShrinkRule, type ShrinkStep, wrapped } from "./rule.ts";

const f32 = Math.fround;

/** w ← clamp(w - shift) and l ← l mod 1. Soft thresholding is this subtraction when widths are clamped at 0. */
function shiftAll({ widths, locations }: BlockArrays, shift: number) {
  const amount = f32(shift);
  return {
    widths: widths.map((width) => Math.min(Math.max(f32(width - amount), 0), 1)),
    locations: wrapped(locations),
  };
}

/** A rule without state, from the function that computes its shift. */
function shiftRule(
  name: string,
  usesMean: boolean,
  shift: (blocks: BlockArrays, step: ShrinkStep) => number,
): ShrinkRule {
  return {
    name,
    usesMean,
    apply: (blocks, step) => ({
      ...shiftAll(blocks, shift(blocks, step)),
      applied: true,
      frozen: false,
      state: {},
    }),
  };
}

/** Options of `softshrink`. */
export interface SoftshrinkOptions {
  /** shift of widths for a learning rate of 1 */
  threshold: number;
}

/**
 * The rule w ← clamp(softshrink(w, threshold · learningRate)), the proximal step of an l1 penalty on widths.
 * @throws ShapeError when a setting is out of range
 */
export function softshrink({ threshold }: SoftshrinkOptions): ShrinkRule {
  expectNonNegative("softshrink", { threshold });
  return shiftRule("softshrink", false, (_, step) => threshold * step.learningRate);
}

/** Clamps widths to [0, 1] and wraps locations into [0, 1) without shrinking. */
export const HOLD: ShrinkRule = softshrink({ threshold: 0 });

/** The threshold and target of a targeted rule. */
export interface TargetOptions {
  /** shift of widths for a learning rate of 1 */
  threshold: number;
  /** mean width below which widths are not reduced further */
  target: number;
  /** power p of the factor ((μ - target) / (1 - target))^p of the threshold. Default: no such factor */
  approach?: number;
}

/** Options of `targetedSoftshrink`. */
export interface TargetedSoftshrinkOptions extends TargetOptions {
  /** stop changing widths and locations permanently once the mean width is below the target. Default false */
  freeze?: boolean;
}

/**
 * The threshold at mean width μ: 0 if μ < target, else `threshold`, multiplied by ((μ - target) / (1 - target))^p if
 * `approach` is p.
 */
export function targetedThreshold(mean: number, { threshold, target, approach }: TargetOptions): number {
  if (approach === undefined) return mean >= f32(target) ? f32(threshold) : 0;
  const way = f32(Math.max(f32(mean - f32(target)), 0) / f32(1 - target));
  return f32(f32(way ** f32(approach)) * f32(threshold));
}

function expectTarget(rule: string, target: number): void {
  expectSetting(rule, { target }, "at least 0 and below 1", target >= 0 && target < 1);
}

function expectTargetOptions(rule: string, { threshold, target, approach }: TargetOptions): void {
  expectNonNegative(rule, { threshold });
  expectTarget(rule, target);
  expectSetting(rule, { approach }, "a number above 0", approach === undefined || approach > 0);
}

/**
 * The rule w ← clamp(softshrink(w, targetedThreshold(μ) · learningRate)). With `freeze`, the first step at which μ is
 * below the target still clamps and wraps; later steps change nothing. State: `frozen`.
 * @throws ShapeError when a setting is out of range
 */
export function targetedSoftshrink(options: TargetedSoftshrinkOptions): ShrinkRule {
  const { target, freeze = false } = options;
  expectTargetOptions("targetedSoftshrink", options);
  return {
    name: "targeted-softshrink",
    usesMean: true,
    apply(blocks, { learningRate }, state) {
      if (state.frozen === true) {
        const { widths, locations } = blocks;
        return { widths, locations, applied: false, frozen: true, state };
      }
      const shift = f32(targetedThreshold(blocks.mean, options) * f32(learningRate));
      const frozen = freeze && blocks.mean < target;
      return { ...shiftAll(blocks, shift), applied: true, frozen, state: { frozen } };
    },
  };
}

/** Options of `adaptiveSoftshrink`. */
export interface AdaptiveSoftshrinkOptions extends TargetOptions {
  /** threshold until `startEpoch`. Default `threshold` */
  startThreshold?: number;
  /** end of the fixed threshold, in epochs counted from 0; may be a fraction */
  startEpoch: number;
  /** epoch from which only the targeted threshold is used */
  endEpoch: number;
}

/**
 * The threshold at a time: (1 - f) · startThreshold + f · targetedThreshold(μ), where f rises from 0 at `startEpoch` to
 * 1 at `endEpoch`, batch by batch.
 */
export function adaptiveThreshold(mean: number, options: AdaptiveSoftshrinkOptions, time: TrainingTime): number {
  const { threshold, startThreshold = threshold, startEpoch, endEpoch } = options;
  const passed = progressOf(epochsSoFar(time), startEpoch, endEpoch);
  return f32(f32(targetedThreshold(mean, options) * f32(passed)) + f32((1 - passed) * startThreshold));
}

/**
 * The rule w ← clamp(softshrink(w, adaptiveThreshold(μ) · learningRate)).
 * @throws ShapeError when a setting is out of range
 */
export function adaptiveSoftshrink(options: AdaptiveSoftshrinkOptions): ShrinkRule {
  const { threshold, startThreshold = threshold, startEpoch, endEpoch } = options;
  expectTargetOptions("adaptiveSoftshrink", options);
  expectNonNegative("adaptiveSoftshrink", { startThreshold });
  expectSetting("adaptiveSoftshrink", { endEpoch }, `at least startEpoch ${startEpoch}`, endEpoch >= startEpoch);
  return shiftRule("adaptive-softshrink", true, ({ mean }, step) =>
    f32(adaptiveThreshold(mean, options, step) * f32(step.learningRate)),
  );
}

/** Options of `meanShrink`. */
export interface MeanShrinkOptions {
  /** mean width at which shrinking stops */
  target: number;
}

/**
 * The rule w ← clamp(w - max(0, μ - target)). The mean after one application can be above or below the target: a width
 * clamped at 0 falls by less than the shift, and also removes the other width of its block from the mean.
 * @throws ShapeError when the target is out of range
 */
export function meanShrink({ target }: MeanShrinkOptions): ShrinkRule {
  expectTarget("meanShrink", target);
  return shiftRule("mean-shrink", true, ({ mean }) => Math.max(f32(mean - f32(target)), 0));
}
