// Learning-rate schedules against closed forms written down another way, and their properties.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { type LearningRateSchedule, learningRateAt } from "../../workbench/train/schedule.ts";

const STEPS = 100;
const all = (schedule: LearningRateSchedule, { base = 1, steps = STEPS, stepsPerEpoch = 10 } = {}) =>
  Array.from({ length: steps }, (_, step) => learningRateAt(schedule, base, { step, steps, stepsPerEpoch }));

test("warms up by equal steps to the highest rate, then falls by equal steps towards zero", () => {
  const rates = all({ decay: "linear", warmup: { steps: 4 } }, { base: 8, steps: 12 });
  expect(rates).toEqual([2, 4, 6, 8, 8, 7, 6, 5, 4, 3, 2, 1]);
});

test("follows half a cosine from the highest to the lowest rate", () => {
  const [base, minimum] = [1e-3, 1e-5];
  all({ decay: "cosine", minimum }, { base }).forEach((rate, step) => {
    const angle = (Math.PI * step) / STEPS;
    expect(rate).toBeCloseTo((base + minimum) / 2 + ((base - minimum) / 2) * Math.cos(angle), 12);
  });
});

test("stays at the highest rate when constant, and at the lowest behind the decay's end", () => {
  expect(new Set(all({ decay: "constant" }))).toEqual(new Set([1]));
  const cooled = all({ decay: "cosine", end: { epochs: 6 }, minimum: 0.25 });
  expect(cooled.slice(60)).toEqual(Array(40).fill(0.25));
  expect(cooled[59]).toBeGreaterThan(0.25);
});

test("takes epochs and steps for the same spans", () => {
  const inEpochs = all({ decay: "linear", warmup: { epochs: 1.5 }, end: { epochs: 9 } });
  expect(inEpochs).toEqual(all({ decay: "linear", warmup: { steps: 15 }, end: { steps: 90 } }));
});

test("is between 0 and the highest rate, rises in the warm-up and never after", () => {
  const schedules = fc.record({
    decay: fc.constantFrom("constant", "linear", "cosine") as fc.Arbitrary<LearningRateSchedule["decay"]>,
    warmup: fc.record({ steps: fc.integer({ min: 0, max: 120 }) }),
    end: fc.record({ steps: fc.integer({ min: 1, max: 120 }) }),
    minimum: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(schedules, (schedule) => {
      const rates = all(schedule);
      rates.forEach((rate, step) => {
        expect(rate >= 0 && rate <= 1).toBe(true);
        const before = rates[step - 1] ?? 0;
        if (step < schedule.warmup.steps) expect(rate).toBeGreaterThan(before);
        else if (step > schedule.warmup.steps) expect(rate).toBeLessThanOrEqual(before + 1e-12);
      });
    }),
  );
});

test("refuses a negative minimum, a negative warm-up and a decay that it does not know", () => {
  const at = (schedule: LearningRateSchedule) => () => all(schedule);
  expect(at({ decay: "linear", minimum: -1 })).toThrow("minimum must be a number of at least 0, got -1");
  expect(at({ decay: "linear", warmup: { steps: -1 } })).toThrow("warmup must be");
  expect(at({ decay: "step" as "linear" })).toThrow('decay must be "constant", "linear" or "cosine", got step');
});
