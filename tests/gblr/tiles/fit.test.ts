// Updates of single tiles: the rank that a price asks for, against the singular values in float64, and no rank for
// singular values that are rounding.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { svdFloat64 } from "../../../workbench/engine/linalg/float64.ts";
import { TileFit } from "../../../workbench/gblr/tiles/fit.ts";
import { tileCost, wholeLayout } from "../../../workbench/gblr/tiles/layout.ts";
import { OutputMetric } from "../../../workbench/gblr/tiles/metric.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { normOf, random, tensorOf, times, type Values } from "./cases.ts";

const [M, N] = [18, 24];

/** Updates the tile of the whole matrix, for independent inputs. @returns its rank */
async function rankOf(matrix: Values, choice: { least: number; most: number; price: number }): Promise<number> {
  const identity = tf.eye(N) as tf.Tensor2D;
  const metric = await OutputMetric.of(identity);
  const target = tensorOf({ ...matrix, values: matrix.values.map((value) => value / normOf(matrix)) });
  const fit = new TileFit(wholeLayout({ nIn: N, nOut: M }), target, metric);
  await fit.update(0, choice);
  const [rank = Number.NaN] = fit.ranks;
  for (const each of [fit, metric, target, identity]) each.dispose();
  return rank;
}

forEachEngine("the update of a tile", () => {
  test("has the rank with the smallest sum of squared error and price", async () => {
    const matrix = random(31, M, N);
    const { s } = svdFloat64(matrix);
    const energies = Array.from(s, (value) => (value / normOf(matrix)) ** 2);
    const ranks = new Set<number>();
    for (const price of [1e-5, 1e-4, 5e-4, 1e-3, 2e-3]) {
      const sums = Array.from({ length: M + 1 }, (_, rank) => {
        const left = energies.slice(rank).reduce((total, energy) => total + energy, 0);
        return left + price * tileCost(rank, { nIn: N, nOut: M });
      });
      const best = sums.indexOf(Math.min(...sums));
      expect(await rankOf(matrix, { least: 0, most: M, price })).toBe(best);
      ranks.add(best);
    }
    expect(ranks.size).toBeGreaterThan(2);
  });

  test.each([1, 3])("of a matrix of rank %d has no further ranks, also if more are asked for", async (rank) => {
    const matrix = times(random(32, M, rank), random(33, rank, N));
    expect(await rankOf(matrix, { least: 8, most: 8, price: 0 })).toBe(rank);
  });
});
