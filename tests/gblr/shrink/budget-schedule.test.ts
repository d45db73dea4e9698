// budgetAt: where the descent to the target cost stands at a given time.

import { describe, expect, test } from "bun:test";
import { type BudgetSchedule, budgetAt } from "../../../workbench/gblr/schedules.ts";

const at = (schedule: Partial<BudgetSchedule>, epochs: number, from = 1): number => {
  const [epoch, batch] = [Math.floor(epochs), (epochs % 1) * 8];
  return budgetAt({ target: 0.2, start: 1, end: 5, ...schedule }, from, { epoch, batch, batchesPerEpoch: 8 });
};

describe("budgetAt", () => {
  test("is where it came from until the start, and at the target from the end on", () => {
    expect([0, 0.5, 1].map((time) => at({}, time))).toEqual([1, 1, 1]);
    expect([5, 5.5, 9].map((time) => at({}, time))).toEqual([0.2, 0.2, 0.2]);
  });

  test("falls first fast, as a cube", () => {
    expect(at({}, 2)).toBeCloseTo(0.2 + 0.8 * 0.75 ** 3, 12);
  });

  test("never rises, batch by batch", () => {
    const course = Array.from({ length: 48 }, (_, batch) => at({}, batch / 8));
    expect(course.every((share, i) => i === 0 || share <= (course[i - 1] as number))).toBe(true);
  });

  test("allows the target throughout when the cost is below it at the outset", () => {
    expect([0, 3, 9].map((time) => at({}, time, 0.1))).toEqual([0.2, 0.2, 0.2]);
  });

  test("is at the target at once when start and end are one", () => {
    expect([0.5, 1, 2].map((time) => at({ end: 1 }, time))).toEqual([1, 0.2, 0.2]);
  });
});
