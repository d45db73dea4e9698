// The correlation search against the reference's, block for block, and what it must hold on any matrix.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { findMask } from "../../../workbench/gblr/init/index.ts";
import { longestRun } from "../../../workbench/gblr/init/longest-run.ts";
import { sample } from "../../engine/ops/operands.ts";
import olb from "../../fixtures/gblr/olb.json" with { type: "json" };
import { readGolden } from "../../golden.ts";

const golden = readGolden("gblr/olb.safetensors");

describe("longestRun", () => {
  for (const { mask, width, loc } of olb.longest_run) {
    if (width === undefined) {
      continue;
    }
    test(`finds in ${mask} the run that the reference finds`, () => {
      const found = longestRun(Array.from(mask, Number));
      expect(found).toEqual({ width: Math.round(width * mask.length), start: Math.round(loc * mask.length) });
    });
  }

  test("finds a single one at the end, where the reference fails", () => {
    expect(longestRun([0, 0, 0, 1])).toEqual({ width: 1, start: 3 });
  });

  test("finds a run that wraps around an odd circle, where the reference fails", () => {
    expect(longestRun([1, 1, 0, 0, 1])).toEqual({ width: 3, start: 4 });
  });

  test("finds nothing in nothing", () => {
    expect([longestRun([]), longestRun([0, 0])]).toEqual([
      { width: 0, start: 0 },
      { width: 0, start: 0 },
    ]);
  });
});

describe("findMask", () => {
  for (const name of ["a.rand", "a.block", "b.rand", "b.block"]) {
    for (const ratio of [0.15, 0.25, 0.5]) {
      test(`spans of ${name} at ${ratio} are the reference's`, () => {
        const { values, shape } = golden.get(`${name}.M`);
        const [rows, columns] = shape as [number, number];
        const budget = Math.floor(ratio * 48) * 144;
        const found = findMask({ values, rows, columns }, { budget });
        const inSamples = (values: Float64Array, lengths: number[]) =>
          Array.from(values, (value, i) => Math.round(value * (lengths[i < 48 ? 0 : 1] as number)));
        const swapped = (values: Float64Array) => Float64Array.from([...values.slice(48), ...values.slice(0, 48)]);
        const expected = {
          widths: inSamples(swapped(golden.get(`${name}.find_mask.r${ratio}.widths`).values), [columns, rows]),
          locations: inSamples(swapped(golden.get(`${name}.find_mask.r${ratio}.locations`).values), [columns, rows]),
        };
        const widths = inSamples(found.widths, [columns, rows]);
        expect(widths).toEqual(expected.widths);
        // Where a block is empty the reference leaves the location it began with.
        const live = (values: number[]) => values.filter((_, i) => (expected.widths[i] as number) > 0);
        expect(live(inSamples(found.locations, [columns, rows]))).toEqual(live(expected.locations));
      });
    }
  }

  test("a matrix of any size, small and odd ones too, gets spans within the budget", () => {
    const size = fc.integer({ min: 1, max: 14 });
    fc.assert(
      fc.property(
        size,
        size,
        fc.integer({ min: 0, max: 1e6 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (m, n, seed, share) => {
          const budget = share * Math.min(m, n) * (m + n);
          const values = Float64Array.from(sample(seed, [m, n]).values);
          const { widths, locations } = findMask({ values, rows: m, columns: n }, { budget, smoothing: 2 });
          const blocks = Math.min(m, n);
          let spent = 0;
          for (let k = 0; k < blocks; k++) {
            const [a, b] = [(widths[k] as number) * n, (widths[blocks + k] as number) * m];
            expect(Math.abs(a - Math.round(a)) + Math.abs(b - Math.round(b))).toBeLessThan(1e-9);
            spent += a > 0 && b > 0 ? a + b : 0;
          }
          expect(spent).toBeLessThanOrEqual(budget + 1e-9);
          for (const value of [...widths, ...locations]) {
            expect(value >= 0 && value <= 1).toBe(true);
          }
        },
      ),
      { numRuns: 60, seed: 5 },
    );
  });

  test("one dense block in zeros is found to within the search's one sample", () => {
    const [rows, columns] = [60, 80];
    const inside = (i: number, j: number) => i >= 20 && i < 40 && j >= 30 && j < 60;
    const values = Float64Array.from({ length: rows * columns }, (_, at) =>
      inside(Math.floor(at / columns), at % columns) ? 1 : 0,
    );
    const found = findMask({ values, rows, columns }, { budget: 50, smoothing: 1, threshold: 0.4 });
    const blocks = 60;
    expect((found.widths[0] as number) * columns).toBeCloseTo(30, 9);
    expect((found.widths[blocks] as number) * rows).toBeCloseTo(20, 9);
    expect((found.locations[0] as number) * columns).toBeCloseTo(31, 9);
    expect((found.locations[blocks] as number) * rows).toBeCloseTo(21, 9);
  });
});
