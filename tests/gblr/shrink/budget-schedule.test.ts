// budgetAt: where the descent to the target cost stands at a given time.

import { describe, expect, test } from "bun:test";
import { type BudgetSchedule, budgetAt } from "../../../workbench/gblr/shrink/index.ts";

const at = (schedule: Partial<BudgetSchedule>, epochs: number, from = 1): number => {
  const [epoch, batch] = [Math.floor(epochs), (epochs % 1) * 8];
  return budgetAt({ target: 0.2, start: 1, end: 5, ...schedule }, from, { epoch, batch, batchesPerEpoch: 8 });
};

describe("budgetAt", () => {
  test("is where it came from until the start, and at the target from the end on", () => {
    for (const shape of ["linear", "cosine", "cubic"] as const) {
      expect([0, 0.5, 1].map((time) => at({ shape }, time))).toEqual([1, 1, 1]);
      expect([5, 5.5, 9].map((time) => at({ shape }, time))).toEqual([0.2, 0.2, 0.2]);
    }
  });

  test("falls evenly, along a half cosine, or first fast as a cube", () => {
    const quarter = 2;
    expect(at({ shape: "linear" }, quarter)).toBeCloseTo(0.8, 12);
    expect(at({ shape: "cosine" }, quarter)).toBeCloseTo(1 - 0.8 * (0.5 - Math.SQRT1_2 / 2), 12);
    expect(at({ shape: "cubic" }, quarter)).toBeCloseTo(0.2 + 0.8 * 0.75 ** 3, 12);
    expect(at({}, quarter)).toBe(at({ shape: "cubic" }, quarter));
  });

  test("never rises, batch by batch", () => {
    for (const shape of ["linear", "cosine", "cubic"] as const) {
      const course = Array.from({ length: 48 }, (_, batch) => at({ shape }, batch / 8));
      expect(course.every((share, i) => i === 0 || share <= (course[i - 1] as number))).toBe(true);
    }
  });

  test("allows the target throughout when the cost is below it at the outset", () => {
    expect([0, 3, 9].map((time) => at({}, time, 0.1))).toEqual([0.2, 0.2, 0.2]);
  });

  test("is at the target at once when start and end are one", () => {
    expect([0.5, 1, 2].map((time) => at({ end: 1 }, time))).toEqual([1, 0.2, 0.2]);
  });
});
