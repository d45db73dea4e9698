// fitBlocks against the float64 traces of the reference: all 48 runs, all 200 steps.

import { describe, expect, test } from "bun:test";
import { svdFloat64 } from "../../../workbench/engine/linalg/float64.ts";
import { fitBlocks } from "../../../workbench/gblr/init/index.ts";
import olb from "../../fixtures/gblr/olb.json" with { type: "json" };
import { type GoldenTensor, readGolden } from "../../golden.ts";

const golden = readGolden("gblr/olb.safetensors");
const BLOCKS = 48;

/** The reference has the output side first. */
const swapped = (values: ArrayLike<number>): Float64Array =>
  Float64Array.from({ length: 2 * BLOCKS }, (_, i) => values[(i + BLOCKS) % (2 * BLOCKS)] as number);

/** Whole samples, exact in float64 where the file has them in float32. */
const whole = (shares: Float64Array, nIn: number, nOut: number): Float64Array =>
  shares.map((share, i) => Math.round(share * (i < BLOCKS ? nIn : nOut)) / (i < BLOCKS ? nIn : nOut));

/** √S-scaled singular vectors of the whole matrix. */
function factorsOf({ values, shape: [rows = 0, columns = 0] }: GoldenTensor) {
  const { left, s, right } = svdFloat64({ values, rows, columns });
  const scaled = (vectors: Float64Array, n: number) =>
    vectors.map((x, i) => x * Math.sqrt(s[Math.floor(i / n)] as number));
  return { inputs: scaled(right, columns), outputs: scaled(left, rows) };
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>, circle = false): number =>
  Array.from(a).reduce((most, value, i) => {
    const apart = Math.abs(value - (b[i] as number));
    return Math.max(most, circle ? Math.min(apart, 1 - apart) : apart);
  }, 0);

describe("fitBlocks holding the mean width", () => {
  for (const run of olb.runs) {
    const [name = "", kind] = run.key.split(".");
    test(`follows the reference's run ${run.key} step by step`, () => {
      const matrix = golden.get(`${name}.${kind}.M`);
      const [rows, columns] = matrix.shape as [number, number];
      const start = `${name}.${kind}.find_mask.r${run.ratio}`;
      const initial = run.find_mask
        ? {
            widths: whole(swapped(golden.get(`${start}.widths`).values), columns, rows),
            locations: whole(swapped(golden.get(`${start}.locations`).values), columns, rows),
          }
        : {
            widths: new Float64Array(2 * BLOCKS).fill(1),
            locations: swapped(golden.get(`${name}.locations0.seed0`).values),
          };
      const blocks = { ...factorsOf(matrix), ...initial };
      const events = fitBlocks({ values: matrix.values, rows, columns }, blocks, {
        budget: run.budget,
        hold: "mean",
        steps: 200,
        structureRate: run.structure_lr_base / 48,
        every: 1,
      });
      const errors = Array.from(events, ({ error }) => error);
      expect(distance(errors.slice(0, 200), golden.get(`${run.key}.f64.trace`).values)).toBeLessThanOrEqual(1e-6);
      expect(Math.abs((errors[200] as number) - (run.nrmse_f64[0] as number))).toBeLessThanOrEqual(1e-6);
      expect(distance(blocks.widths, swapped(golden.get(`${run.key}.f64.widths`).values))).toBeLessThanOrEqual(1e-6);
      const locations = swapped(golden.get(`${run.key}.f64.locations`).values);
      expect(distance(blocks.locations, locations, true)).toBeLessThanOrEqual(1e-6);
    });
  }
});
