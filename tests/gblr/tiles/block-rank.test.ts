// Blocks of a rank above 1 from a search by outputs: their ranks share a span, they cost what the layout says, and their
// sum is that of the tiles. Sums are compared with products in float64.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { Matrix } from "ml-matrix";
import { GblrMatrix } from "../../../workbench/gblr/matrix.ts";
import { pack, packedProduct } from "../../../workbench/gblr/packed.ts";
import { type Block, inGroups } from "../../../workbench/gblr/tiles/block.ts";
import { blocksOf } from "../../../workbench/gblr/tiles/elimination.ts";
import { dividedLayout, floorTo, layoutCost, mostRank, wholeRank } from "../../../workbench/gblr/tiles/layout.ts";
import { searchTiles } from "../../../workbench/gblr/tiles/search.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { expectClose, liveTensors, read, sample, toTensor } from "../../engine/ops/operands.ts";
import { lengthOf, random, sumOf } from "./blocks.ts";

test("groups of blocks share their windows, sum up to the tiles, and cost at most what the layout says", () => {
  const side = fc.integer({ min: 17, max: 48 });
  const how = fc.record({
    ...{ nOut: side, nIn: side },
    quantum: fc.constantFrom(1, 2, 8),
    blockRank: fc.constantFrom(2, 3, 4, 8),
    stable: fc.boolean(),
    divides: fc.constantFrom("columns" as const, "rows" as const),
    wanted: fc.array(fc.integer({ min: 0, max: 16 }), { minLength: 3, maxLength: 3 }),
    zeros: fc.constantFrom(0, 0, 3),
    seed: fc.integer({ min: 1, max: 1e6 }),
  });
  let checked = 0;
  fc.assert(
    fc.property(how, ({ nIn, nOut, quantum, blockRank, stable, divides, wanted, zeros, seed }) => {
      const sides = { nIn, nOut, quantum, blockRank, stable };
      const layout = dividedLayout(sides, { divides, groups: 2, shared: 0.5 });
      const ranks = [0, 0, 0];
      for (const tile of [1, 2, 0])
        ranks[tile] = Math.min(floorTo(wanted[tile] as number, blockRank), mostRank(layout, tile, ranks));
      expect(ranks.every((rank) => rank % blockRank === 0)).toBe(true);
      const expected = Matrix.zeros(nOut, nIn);
      const factors = layout.tiles.map(({ rows, columns }, tile) => {
        const rank = ranks[tile] as number;
        if (rank === 0) return undefined;
        const left = random(seed + tile, lengthOf(rows), rank);
        const right = random(seed + tile + 10, rank, lengthOf(columns));
        for (let j = 0; j < zeros - columns.start; j++) right.setColumn(j, new Array(rank).fill(0));
        const part = left.mmul(right);
        for (let i = 0; i < part.rows; i++)
          for (let j = 0; j < part.columns; j++)
            expected.set(
              rows.start + i,
              columns.start + j,
              expected.get(rows.start + i, columns.start + j) + part.get(i, j),
            );
        return { left, right };
      });
      const single = blocksOf(layout, factors);
      if (single === undefined) return;
      const blocks = inGroups(single, blockRank);
      expect(blocks.length % blockRank).toBe(0);
      for (const [b, { tile, rows, columns }] of blocks.entries()) {
        const first = blocks[floorTo(b, blockRank)] as Block;
        expect({ tile, rows, columns }).toEqual({ tile: first.tile, rows: first.rows, columns: first.columns });
      }
      const cost = blocks.reduce((total, { rows, columns }) => total + lengthOf(rows) + lengthOf(columns), 0);
      expect(cost).toBeLessThanOrEqual(layoutCost(layout, ranks));
      const difference = Matrix.sub(sumOf(blocks, nOut, nIn), expected).norm("frobenius");
      expect(difference).toBeLessThanOrEqual(1e-7 * Math.max(1, expected.norm("frobenius")));
      checked++;
    }),
    { numRuns: 300, seed: 7 },
  );
  expect(checked).toBeGreaterThan(200);
});

test("the rank of the whole matrix is the largest affordable multiple", () => {
  const sides = { nIn: 100, nOut: 60, quantum: 8, blockRank: 8 };
  // 8 ranks of full spans, and 8 with 8 samples less on both sides.
  expect(wholeRank(sides, 8 * 160 + 8 * 144)).toBe(16);
  expect(wholeRank(sides, 8 * 160 + 8 * 144 - 1)).toBe(8);
  expect(wholeRank(sides, 8 * 160 - 1)).toBe(0);
});

forEachEngine("searchTiles with a block rank", (_, { name }) => {
  test.skipIf(name === "cpu")(
    "finds blocks of that rank within the budget, whose packed form has as many equal spans",
    async () => {
      const [nOut, nIn, allowed] = [64, 96, 0.5 * 64 * 96];
      const target = toTensor(sample(3, [nOut, nIn])) as tf.Tensor2D;
      const inputs = toTensor(sample(4, [300, nIn])) as tf.Tensor2D;
      const covariance = tf.matMul(inputs, inputs, true) as tf.Tensor2D;
      const x = toTensor(sample(5, [7, nIn])) as tf.Tensor2D;
      const left: number[] = [];
      let found = 0;
      for (const [blockRank, stable] of [
        [4, false],
        [8, false],
        [4, true],
      ] as const) {
        for await (const event of searchTiles(target, covariance, { allowed, blockRank, stable, rounds: 3 })) {
          if (event.type !== "found") continue;
          found++;
          const matrix = new GblrMatrix(event.parameters, { mode: "eval" });
          expect(matrix.rank).toBe(blockRank);
          expect(event.cost).toBeLessThanOrEqual(allowed);
          expect(event.tiles.every(({ rank }) => rank % blockRank === 0)).toBe(true);
          const packed = await pack(matrix);
          const spans = await packed.spans.array();
          expect(packed.values_in.size + packed.values_out.size).toBe(event.cost);
          for (const row of spans)
            for (const [b, value] of row.entries()) expect(value).toBe(row[floorTo(b, blockRank)] as number);
          const [whole, dense] = [packedProduct(x, packed), matrix.dense()];
          const expected = tf.matMul(x, dense, false, true);
          expectClose(await read(whole), Float64Array.from(await read(expected)), { tolerance: 1e-4 });
          const residual = tf.tidy(() => tf.matMul(inputs, tf.sub(target, dense), false, true));
          const all = tf.matMul(inputs, target, false, true);
          const error = tf.tidy(() => tf.div(tf.norm(residual), tf.norm(all)).dataSync()[0] as number);
          expect(error).toBeCloseTo(event.error, 3);
          const { spans: spanTensor, values_in, values_out } = packed;
          tf.dispose([whole, dense, expected, residual, all, spanTensor, values_in, values_out]);
          tf.dispose({ ...event.parameters });
        }
        left.push(liveTensors().tensors);
      }
      expect(found).toBe(3);
      // The first one makes the tables of the masks, which are kept.
      expect(left).toEqual(new Array(3).fill(left[0]));
      tf.dispose([target, inputs, covariance, x]);
    },
    240_000,
  );
});
