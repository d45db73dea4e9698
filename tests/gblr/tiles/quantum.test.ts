// The quantum of windows: blocks begin and end at its multiples, cost what their layout says, and still sum up to the
// matrix. The sums are compared with products in float64.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { Matrix } from "ml-matrix";
import { blocksOf } from "../../../workbench/gblr/tiles/elimination.ts";
import { dividedLayout, layoutCost, mostRank, type Tile } from "../../../workbench/gblr/tiles/layout.ts";
import { searchTiles } from "../../../workbench/gblr/tiles/search.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { liveTensors, sample, toTensor } from "../../engine/ops/operands.ts";
import { lengthOf, random, sumOf } from "./blocks.ts";

const isAligned = ({ start, end }: { start: number; end: number }, side: number, quantum: number) =>
  start % quantum === 0 && (end % quantum === 0 || end === side);

test("blocks with a quantum sum up to their tiles, are aligned, and cost at most what the layout says", () => {
  const sizes = fc.record({ nOut: fc.integer({ min: 17, max: 40 }), nIn: fc.integer({ min: 17, max: 40 }) });
  const how = fc.record({
    sizes,
    quantum: fc.constantFrom(1, 2, 4, 8),
    divides: fc.constantFrom("columns" as const, "rows" as const),
    ranks: fc.array(fc.integer({ min: 0, max: 13 }), { minLength: 3, maxLength: 3 }),
    zeros: fc.constantFrom(0, 0, 3),
    seed: fc.integer({ min: 1, max: 1e6 }),
  });
  fc.assert(
    fc.property(how, ({ sizes: { nIn, nOut }, quantum, divides, ranks, zeros, seed }) => {
      const layout = dividedLayout({ nIn, nOut, quantum }, { divides, groups: 2, shared: 0.5 });
      const fitting = [...ranks];
      for (const tile of [1, 2, 0]) {
        fitting[tile] = Math.min(
          ranks[tile] as number,
          mostRank(
            layout,
            tile,
            fitting.map((rank, i) => (i === tile ? 0 : rank)),
          ),
        );
      }
      const expected = Matrix.zeros(nOut, nIn);
      const factors = layout.tiles.map(({ rows, columns }: Tile, tile) => {
        const rank = fitting[tile] as number;
        if (rank === 0) return undefined;
        const left = random(seed + tile, lengthOf(rows), rank);
        const right = random(seed + tile + 10, rank, lengthOf(columns));
        // Inputs that are always zero leave columns of zeros.
        for (let j = 0; j < zeros - columns.start; j++) right.setColumn(j, new Array(rank).fill(0));
        const part = left.mmul(right);
        for (let i = 0; i < part.rows; i++) {
          for (let j = 0; j < part.columns; j++) {
            const [row, column] = [rows.start + i, columns.start + j];
            expected.set(row, column, expected.get(row, column) + part.get(i, j));
          }
        }
        return { left, right };
      });
      const blocks = blocksOf(layout, factors);
      // Zeros can leave the shared tile without pivots; the search then takes another layout.
      if (blocks === undefined) return zeros > 0;
      const cost = blocks.reduce((total, { rows, columns }) => total + lengthOf(rows) + lengthOf(columns), 0);
      expect(cost).toBeLessThanOrEqual(layoutCost(layout, fitting));
      for (const { rows, columns } of blocks) {
        // The smallest live window has two samples.
        expect(isAligned(rows, nOut, quantum) || lengthOf(rows) === 2).toBe(true);
        expect(isAligned(columns, nIn, quantum) || lengthOf(columns) === 2).toBe(true);
      }
      const difference = Matrix.sub(sumOf(blocks, nOut, nIn), expected).norm("frobenius");
      expect(difference).toBeLessThanOrEqual(1e-7 * Math.max(1, expected.norm("frobenius")));
      return true;
    }),
    { numRuns: 300, seed: 6 },
  );
});

forEachEngine("searchTiles with a quantum", () => {
  test("a search with a quantum meets the budget with aligned blocks, at an error between its own without and low rank", async () => {
    const [nOut, nIn, allowed] = [48, 64, 0.5 * 48 * 64];
    const target = toTensor(sample(3, [nOut, nIn])) as tf.Tensor2D;
    const inputs = toTensor(sample(4, [200, nIn])) as tf.Tensor2D;
    const covariance = tf.matMul(inputs, inputs, true) as tf.Tensor2D;
    const before = liveTensors();
    const errors: number[] = [];
    for (const quantum of [1, 8, 16, 64]) {
      for await (const event of searchTiles(target, covariance, { allowed, quantum, rounds: 4 })) {
        if (event.type !== "found") continue;
        const { parameters, error, cost } = event;
        errors.push(error);
        expect(cost).toBeLessThanOrEqual(allowed);
        const [widths, locations] = [await parameters.widths.data(), await parameters.locations.data()];
        const count = widths.length / 2;
        for (let k = 0; k < 2 * count; k++) {
          const side = k < count ? nIn : nOut;
          const start = Math.round((locations[k] as number) * side);
          expect(isAligned({ start, end: start + Math.round((widths[k] as number) * side) }, side, quantum)).toBe(true);
        }
        tf.dispose(Object.values(parameters));
      }
    }
    expect(errors).toHaveLength(4);
    const [free, ...others] = errors as [number, ...number[]];
    // At a quantum of a whole side, blocks have full width: low rank.
    const lowRank = others.at(-1) as number;
    for (const error of others.slice(0, -1)) {
      expect(error).toBeGreaterThan(free);
      expect(error).toBeLessThan(lowRank);
    }
    expect(liveTensors()).toEqual(before);
    tf.dispose([target, inputs, covariance]);
  });
});
