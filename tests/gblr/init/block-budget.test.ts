// Holding widths to a budget: the count never exceeds it, no more is taken off than must be.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { seededUniform } from "../../../workbench/engine/core/random.ts";
import { blockCount, countAllowed, holdCount } from "../../../workbench/gblr/init/block-budget.ts";
import { samples } from "../../../workbench/gblr/widths.ts";

const random = (seed: number, length: number, spread = 1): Float64Array =>
  Float64Array.from({ length }, seededUniform(seed)).map((value) => 0.5 + spread * (value - 0.5));

const sides = fc.record({ nIn: fc.integer({ min: 1, max: 400 }), nOut: fc.integer({ min: 1, max: 400 }) });
const share = fc.double({ min: 0, max: 1.2, noNaN: true });

describe("holdCount", () => {
  test("keeps the count within the budget, in float32 too, and widths in [0, 1]", () => {
    fc.assert(
      fc.property(
        sides,
        share,
        fc.integer({ min: 1, max: 30 }),
        fc.integer(),
        fc.boolean(),
        (each, part, blocks, seed, alike) => {
          const budget = part * blocks * (each.nIn + each.nOut);
          const widths = alike ? new Float64Array(2 * blocks).fill(1) : random(seed, 2 * blocks, 3);
          holdCount(widths, budget, each);
          expect(blockCount(widths, each)).toBeLessThanOrEqual(budget);
          const inFloat32 = Array.from({ length: blocks }, (_, k) => [
            samples(widths[k] as number, each.nIn),
            samples(widths[blocks + k] as number, each.nOut),
          ]);
          const count = inFloat32.reduce((sum, [a = 0, b = 0]) => sum + (a > 0 && b > 0 ? a + b : 0), 0);
          expect(count).toBeLessThanOrEqual(budget);
          expect(widths.every((width) => width >= 0 && width <= 1)).toBe(true);
        },
      ),
      { numRuns: 300, seed: 2 },
    );
  });

  test("leaves widths that fit as they are", () => {
    const widths = random(5, 20);
    const before = widths.slice();
    holdCount(widths, blockCount(widths, { nIn: 30, nOut: 40 }) + 1, { nIn: 30, nOut: 40 });
    expect(widths).toEqual(before);
  });

  test("spends all but a few samples of the budget where widths differ", () => {
    const widths = random(6, 200);
    holdCount(widths, 3000, { nIn: 48, nOut: 96 });
    expect(blockCount(widths, { nIn: 48, nOut: 96 })).toBeGreaterThan(3000 - 48 - 96);
  });

  test("takes more off the side on which a share costs more", () => {
    const widths = new Float64Array([0.9, 0.8, 0.9, 0.8]);
    holdCount(widths, 150, { nIn: 100, nOut: 50 });
    const [a = 0, b = 0, c = 0, d = 0] = [0.9, 0.8, 0.9, 0.8].map((width, i) => width - (widths[i] as number));
    expect(a).toBeCloseTo(b, 9);
    expect(c).toBeCloseTo(d, 9);
    expect(a).toBeCloseTo(2 * c, 9);
  });
});

test("blockCount counts both sides of blocks that cover anything, half samples to even", () => {
  expect(blockCount([0.25, 0.5, 0.05, 0.5, 1, 1], { nIn: 10, nOut: 4 })).toBe(2 + 2 + 5 + 4);
  expect(countAllowed(7 / 48, { nIn: 96, nOut: 48 })).toBe(1008);
});
