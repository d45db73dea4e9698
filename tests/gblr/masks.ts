// Holds evaluation masks against the reference's, whose float32 masks cut entries at 1e-3.

import { expect } from "bun:test";

/** Within 2e-5, except that an entry within 1e-5 of the cut may be 0 on one side. */
export function expectEvaluationMask(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const [got, wanted] = [actual[i] as number, expected[i] as number];
    const larger = Math.max(Math.abs(got), Math.abs(wanted));
    const onCut = (got === 0 || wanted === 0) && Math.abs(larger - 1e-3) < 1e-5;
    expect(onCut ? 0 : Math.abs(got - wanted)).toBeLessThan(2e-5);
  }
}
