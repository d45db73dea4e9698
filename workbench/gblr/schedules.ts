// Schedules of training: the smoothness of masks (sigma rises linearly, as it is annealed in arXiv 2310.18882), and the
// relative cost that the budget rule allows. These functions compute numbers; masks and shrink rules apply them.

import { expectSetting } from "../engine/ops/operands.ts";

/** A linear schedule of sigma. */
export interface SigmaSchedule {
  /** sigma until `startEpoch`, above 0 */
  initial: number;
  /** sigma from `endEpoch` on, above 0 */
  final: number;
  /** counted from 0 */
  startEpoch: number;
  /**
   * epoch in which `final` is reached, counted from 0. With 10, a run of ten epochs ends just before `final` is reached
   */
  endEpoch: number;
  /** whether sigma changes once per epoch or with every batch. Default `epoch` */
  every?: "epoch" | "batch";
}

/** A point in training. */
export interface TrainingTime {
  /** counted from 0 */
  epoch: number;
  /** within the epoch, counted from 0 */
  batch: number;
  batchesPerEpoch: number;
}

/** Epochs since the start of training, including the completed share of the current one. */
export const epochsSoFar = ({ epoch, batch, batchesPerEpoch }: TrainingTime): number => epoch + batch / batchesPerEpoch;

/** The position of `time` between `start` and `end`, clamped to [0, 1]; 1 at `start` if `end` equals it. */
export function progressOf(time: number, start: number, end: number): number {
  if (time >= end) {
    return 1;
  }
  return Math.max(0, (time - start) / (end - start));
}

/**
 * Sigma at a time: sigma(t) = initial + (final - initial) · (t - startEpoch) / (endEpoch - startEpoch), constant before
 * and after.
 * @param time only `epoch` is used unless the schedule changes with every batch
 * @throws ShapeError when a sigma is not above 0 and finite, or the end is before the start
 */
export function sigmaAt(schedule: SigmaSchedule, time: TrainingTime): number {
  const { initial, final, startEpoch, endEpoch, every = "epoch" } = schedule;
  for (const [name, sigma] of Object.entries({ initial, final })) {
    expectSetting("sigmaAt", { [name]: sigma }, "a finite number above 0", sigma > 0 && Number.isFinite(sigma));
  }
  expectSetting("sigmaAt", { endEpoch }, `at least startEpoch ${startEpoch}`, endEpoch >= startEpoch);
  const now = every === "batch" ? epochsSoFar(time) : time.epoch;
  return initial + (final - initial) * progressOf(now, startEpoch, endEpoch);
}

/** A schedule of the relative cost. */
export interface BudgetSchedule {
  /** relative cost at the end, a share of the dense layers' multiply-adds, above 0 and at most 1 */
  target: number;
  /** epoch in which the cost begins to fall, counted from 0; may be a fraction */
  start: number;
  /** epoch in which the target is reached; if equal to `start`, immediately */
  end: number;
}

/**
 * The cost allowed at a time: `from` until `start`, the target from `end` on, and between them a cubic polynomial that
 * falls fastest at the beginning (Zhu and Gupta 2017, arXiv 1710.01878, equation 1). If `from` is below the target, the
 * target is always allowed.
 * @param from cost at the start of training, in the target's unit
 */
export function budgetAt({ target, start, end }: BudgetSchedule, from: number, time: TrainingTime): number {
  const done = 1 - (1 - progressOf(epochsSoFar(time), start, end)) ** 3;
  // This weighted sum is exactly the target at the end.
  return Math.max(from, target) * (1 - done) + target * done;
}

/** @throws ShapeError when a setting is out of range */
export function expectBudgetSchedule(rule: string, { target, start, end }: BudgetSchedule): void {
  expectSetting(rule, { target }, "above 0 and at most 1", target > 0 && target <= 1);
  expectSetting(rule, { start }, "a finite number of epochs", Number.isFinite(start));
  expectSetting(rule, { end }, `at least start ${start}`, end >= start);
}
