// What a tile is worth, against the errors in float64 of the matrix with the tile and without it.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { Matrix } from "ml-matrix";
import type { Block, TileFactors } from "../../../workbench/gblr/tiles/block.ts";
import { blocksOf } from "../../../workbench/gblr/tiles/elimination.ts";
import { TileFit } from "../../../workbench/gblr/tiles/fit.ts";
import { dividedLayout, type Layout, layoutCost, type Tile } from "../../../workbench/gblr/tiles/layout.ts";
import { OutputMetric } from "../../../workbench/gblr/tiles/metric.ts";
import { summariesOf } from "../../../workbench/gblr/tiles/summary.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { liveTensors, sample, toTensor } from "../../engine/ops/operands.ts";

const [M, N] = [20, 28];
const RANKS = [3, 2, 0, 1];

const random = (seed: number, rows: number, columns: number): Matrix =>
  Matrix.from1DArray(rows, columns, Float64Array.from(sample(seed, [rows, columns]).values));

const tensorOf = (matrix: Matrix): tf.Tensor2D =>
  toTensor({ values: matrix.to1DArray(), shape: [matrix.rows, matrix.columns] }) as tf.Tensor2D;

async function hostMatrix(tensor: tf.Tensor2D): Promise<Matrix> {
  const [rows, columns] = tensor.shape;
  return Matrix.from1DArray(rows, columns, Float64Array.from(await tensor.data()));
}

/** tr(D Σ Dᵀ) of what is left of the target. */
function squaredError(target: Matrix, parts: readonly Matrix[], covariance: Matrix): number {
  const left = parts.reduce((rest, part) => Matrix.sub(rest, part), target);
  return left.mmul(covariance).mmul(left.transpose()).trace();
}

/** Tiles as matrices of the whole size, zero outside the tile. */
function partsOf(layout: Layout, factors: readonly (TileFactors | undefined)[]): Matrix[] {
  return factors.map((own, tile) => {
    const part = Matrix.zeros(M, N);
    const { rows, columns } = layout.tiles[tile] as Tile;
    return own ? part.setSubMatrix(own.left.mmul(own.right), rows.start, columns.start) : part;
  });
}

async function factorsOf(fit: TileFit): Promise<(TileFactors | undefined)[]> {
  const found: (TileFactors | undefined)[] = [];
  for (const own of await fit.entries()) {
    found.push(own && { left: await hostMatrix(own.left), right: await hostMatrix(own.right) });
    if (own) tf.dispose([own.left, own.right]);
  }
  return found;
}

const inputs = random(5, 4 * N, N);
const covariance = inputs
  .transpose()
  .mmul(inputs)
  .div(4 * N);
const plain = random(3, M, N);
/** of norm 1 in the metric of outputs */
const target = plain.div(Math.sqrt(squaredError(plain, [], covariance)));

forEachEngine("worth of tiles", () => {
  for (const divides of ["columns", "rows"] as const) {
    test(`a tile is worth what the squared error grows by without it, groups of ${divides}`, async () => {
      const layout = dividedLayout({ nIn: N, nOut: M }, { divides, groups: 3, shared: 0.5 });
      const [weight, sigma] = [tensorOf(target), tensorOf(covariance)];
      const metric = await OutputMetric.of(sigma);
      const seen = metric.whitened(weight);
      const fit = new TileFit(layout, seen, metric);
      // After a single round the residual is not orthogonal to the tiles that were fitted first.
      for (const [tile, rank] of RANKS.entries()) await fit.update(tile, { least: rank, most: rank, price: 0 });
      const factors = await factorsOf(fit);
      const parts = partsOf(layout, factors);
      const blocks = blocksOf(layout, factors) as Block[];
      const before = liveTensors();
      const found = await summariesOf(fit, blocks);
      expect(liveTensors()).toEqual(before);
      const all = squaredError(target, parts, covariance);
      const present = RANKS.flatMap((rank, tile) => (rank > 0 ? [tile] : []));
      expect(found.map(({ rank }) => rank)).toEqual(present.map((tile) => RANKS[tile] as number));
      expect(found.reduce((sum, { cost }) => sum + cost, 0)).toBe(layoutCost(layout, RANKS));
      for (const [i, tile] of present.entries()) {
        const { rows, columns } = layout.tiles[tile] as Tile;
        expect(found[i]).toMatchObject({ rows: [rows.start, rows.end], columns: [columns.start, columns.end] });
        const without = squaredError(
          target,
          parts.filter((_, other) => other !== tile),
          covariance,
        );
        expect(without - all).toBeGreaterThan(0.005);
        expect(found[i]?.worth).toBeCloseTo(without - all, 4);
      }
      fit.dispose();
      metric.dispose();
      for (const tensor of [seen, weight, sigma]) tensor.dispose();
    });
  }
});
