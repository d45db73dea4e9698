// The relative cost that training may use at a given time: from where it starts down to the one that was asked for.
// Computes the number only.

import { expectSetting } from "../../engine/ops/operands.ts";
import { epochsSoFar, progressOf, type TrainingTime } from "../sigma-schedule.ts";

/** Share of the way done at share p of the time; `cubic` takes most off early (Zhu and Gupta 2017, equation 1). */
const SHAPES = {
  linear: (p: number) => p,
  cosine: (p: number) => (1 - Math.cos(Math.PI * p)) / 2,
  cubic: (p: number) => 1 - (1 - p) ** 3,
};

export interface BudgetSchedule {
  /** relative cost at the end, a share of the dense layers' multiply-adds, above 0 and at most 1 */
  target: number;
  /** when the descent starts, epochs from 0, fractions allowed */
  start: number;
  /** when the target is reached; equal to `start`: at once */
  end: number;
  /** default `cubic` */
  shape?: keyof typeof SHAPES;
}

/**
 * The cost allowed now: `from` until `start`, the target from `end` on. A `from` below the target allows the target
 * throughout.
 * @param from cost at the outset, in the target's unit
 */
export function budgetAt(
  { target, start, end, shape = "cubic" }: BudgetSchedule,
  from: number,
  time: TrainingTime,
): number {
  const done = SHAPES[shape](progressOf(epochsSoFar(time), start, end));
  // Weighted so that the end is the target to the last bit.
  return Math.max(from, target) * (1 - done) + target * done;
}

/** @throws ShapeError when a setting is out of range */
export function expectBudgetSchedule(rule: string, { target, start, end, shape = "cubic" }: BudgetSchedule): void {
  expectSetting(rule, { target }, "above 0 and at most 1", target > 0 && target <= 1);
  expectSetting(rule, { start }, "a finite number of epochs", Number.isFinite(start));
  expectSetting(rule, { end }, `at least start ${start}`, end >= start);
  expectSetting(rule, { shape }, `"linear", "cosine" or "cubic"`, Object.hasOwn(SHAPES, shape));
}
