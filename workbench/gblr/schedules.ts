// What changes with the time of training: how smooth masks are (sigma rises linearly from its first to its last value, as
// arXiv 2310.18882 anneals it), and what relative cost the budget rule allows. Computes the numbers only; masks and shrink
// rules apply them.

import { expectSetting } from "../engine/ops/operands.ts";

export interface SigmaSchedule {
  /** sigma until `startEpoch`, above 0 */
  initial: number;
  /** sigma from `endEpoch` on, above 0 */
  final: number;
  /** counted from 0 */
  startEpoch: number;
  /** epoch in which `final` is reached; a run of ten epochs, 0 to 9, that names 10 here stops one step short of it */
  endEpoch: number;
  /** `epoch`: one sigma an epoch. `batch`: a new one each batch. Default `epoch` */
  every?: "epoch" | "batch";
}

/** Where training stands. */
export interface TrainingTime {
  /** counted from 0 */
  epoch: number;
  /** within the epoch, counted from 0 */
  batch: number;
  batchesPerEpoch: number;
}

/** Epochs since training began, with the share of the present one that is over. */
export const epochsSoFar = ({ epoch, batch, batchesPerEpoch }: TrainingTime): number => epoch + batch / batchesPerEpoch;

/** How far `time` is from `start` to `end`, from 0 to 1; a span of no length is over as soon as it starts. */
export function progressOf(time: number, start: number, end: number): number {
  if (time >= end) {
    return 1;
  }
  return Math.max(0, (time - start) / (end - start));
}

/**
 * sigma(t) = initial + (final - initial) · (t - startEpoch) / (endEpoch - startEpoch), held constant outside.
 * @param time of schedules by epoch only `epoch` counts
 * @throws ShapeError when a sigma is not above 0 and finite, or the end lies before the start
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

export interface BudgetSchedule {
  /** relative cost at the end, a share of the dense layers' multiply-adds, above 0 and at most 1 */
  target: number;
  /** when the descent starts, epochs from 0, fractions allowed */
  start: number;
  /** when the target is reached; equal to `start`: at once */
  end: number;
}

/**
 * The cost allowed now: `from` until `start`, the target from `end` on, in between by a cubic polynomial that takes most
 * off early (Zhu and Gupta 2017, equation 1). A `from` below the target allows the target
 * throughout.
 * @param from cost at the start of training, in the unit of the target
 */
export function budgetAt({ target, start, end }: BudgetSchedule, from: number, time: TrainingTime): number {
  const done = 1 - (1 - progressOf(epochsSoFar(time), start, end)) ** 3;
  // Weighted so that the end is the target to the last bit.
  return Math.max(from, target) * (1 - done) + target * done;
}

/** @throws ShapeError when a setting is out of range */
export function expectBudgetSchedule(rule: string, { target, start, end }: BudgetSchedule): void {
  expectSetting(rule, { target }, "above 0 and at most 1", target > 0 && target <= 1);
  expectSetting(rule, { start }, "a finite number of epochs", Number.isFinite(start));
  expectSetting(rule, { end }, `at least start ${start}`, end >= start);
}
