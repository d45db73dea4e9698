// The search for several sizes: ranks that never fall and fit their budgets, errors as reported in float64, the gradient of
// the fit of all sizes by differences, and what the fit gains.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { JointFit } from "../../../workbench/gblr/tiles/joint-fit.ts";
import { dividedLayout, type Layout, layoutCost } from "../../../workbench/gblr/tiles/layout.ts";
import { OutputMetric } from "../../../workbench/gblr/tiles/metric.ts";
import { type NestedTiles, searchNested } from "../../../workbench/gblr/tiles/nested.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { liveTensors } from "../../engine/ops/operands.ts";
import { bestLowRank, COVARIANCES, minus, random, rootOf, seenNorm, tensorOf, type Values } from "./cases.ts";

const covariance = (n: number): Values =>
  (COVARIANCES["many mixed inputs"] as (seed: number, n: number) => Values)(91, n);

const SIZES = [0.2, 0.4, 0.6, 0.8];

interface Searched extends NestedTiles {
  allowed: number[];
}

async function searched(weight: Values, evaluations?: number): Promise<Searched> {
  const [whole, sigma] = [tensorOf(weight), tensorOf(covariance(weight.columns))];
  const allowed = SIZES.map((size) => Math.floor(size * weight.rows * weight.columns));
  try {
    for await (const event of searchNested(whole, sigma, {
      allowed,
      ...(evaluations !== undefined && { evaluations }),
    })) {
      if (event.type === "found") return { ...event, allowed };
    }
  } finally {
    tf.dispose([whole, sigma]);
  }
  throw new Error("nothing was found");
}

const release = ({ factors }: NestedTiles): void => {
  for (const own of factors) tf.dispose({ ...own });
};

/** The sum of the first ranks of each tile, in float64. */
async function matrixAt({ layout, factors }: NestedTiles, ranks: readonly number[]): Promise<Values> {
  const { rows, columns } = layout.tiles[0] as Layout["tiles"][number];
  const sum = { values: new Float64Array(rows.end * columns.end), rows: rows.end, columns: columns.end };
  for (const [tile, own] of factors.entries()) {
    if (!own) continue;
    const place = layout.tiles[tile] as Layout["tiles"][number];
    const [left, right] = [await own.left.array(), await own.right.array()];
    for (let rank = 0; rank < (ranks[tile] as number); rank++) {
      for (let i = place.rows.start; i < place.rows.end; i++) {
        for (let j = place.columns.start; j < place.columns.end; j++) {
          const [a, b] = [left[i - place.rows.start]?.[rank], right[rank]?.[j - place.columns.start]];
          sum.values[i * sum.columns + j] = (sum.values[i * sum.columns + j] as number) + (a as number) * (b as number);
        }
      }
    }
  }
  return sum;
}

forEachEngine("the search for several sizes", (_, { name }) => {
  const slow = name === "cpu";

  test.skipIf(slow).each([
    [24, 48],
    [48, 24],
    [32, 32],
  ])(
    "of a matrix of %i by %i has ranks that fit each budget and never fall, and the errors it reports",
    async (m, n) => {
      const before = liveTensors();
      const weight = random(31, m, n);
      const found = await searched(weight);
      const root = rootOf(covariance(n));
      for (const [size, ranks] of found.ranks.entries()) {
        expect(layoutCost(found.layout, ranks)).toBeLessThanOrEqual(found.allowed[size] as number);
        for (const [tile, rank] of ranks.entries()) {
          expect(rank).toBeGreaterThanOrEqual(found.ranks[size - 1]?.[tile] ?? 0);
        }
        const error = seenNorm(minus(weight, await matrixAt(found, ranks)), root) / seenNorm(weight, root);
        expect(Math.abs(error / (found.errors[size] as number) - 1)).toBeLessThan(2e-3);
      }
      const last = found.ranks.at(-1) as readonly number[];
      expect(found.factors.map((own) => own?.left.shape[1] ?? 0)).toEqual([...last]);
      release(found);
      expect(liveTensors()).toEqual(before);
    },
  );

  test("of a matrix too small for groups has the best matrix of each rank at every size", async () => {
    const weight = random(33, 12, 14);
    const found = await searched(weight);
    expect(found.layout.tiles).toHaveLength(1);
    const root = rootOf(covariance(14));
    for (const [size, [rank]] of found.ranks.entries()) {
      const best = seenNorm(minus(weight, bestLowRank(weight, root, rank as number)), root) / seenNorm(weight, root);
      expect(found.errors[size] as number).toBeLessThanOrEqual(best * (1 + 1e-3));
    }
    release(found);
  });

  test.skipIf(slow)(
    "gains from the fit of all sizes: the sum of their squared errors, each by its weight, falls",
    async () => {
      const weight = random(35, 32, 32);
      const [plain, fitted] = [await searched(weight, 0), await searched(weight)];
      expect(fitted.ranks).toEqual(plain.ranks);
      expect(fitted.layout.tiles.length).toBeGreaterThan(1);
      const total = fitted.errors.reduce((sum, error, size) => sum + (error / (plain.errors[size] as number)) ** 2, 0);
      expect(total).toBeLessThan(0.99 * SIZES.length);
      for (const found of [plain, fitted]) release(found);
    },
  );

  test.each(["columns", "rows"] as const)(
    "has a gradient for all sizes that differences confirm: groups of %s",
    async (divides) => {
      const layout = dividedLayout({ nIn: 20, nOut: 18 }, { divides, groups: 2, shared: 0.5 });
      const sigma = tensorOf(covariance(20));
      const metric = await OutputMetric.of(sigma);
      const weight = tensorOf(random(37, 18, 20));
      const target = tf.tidy(() => {
        const seen = metric.whitened(weight);
        return tf.div(seen, tf.norm(seen)) as tf.Tensor2D;
      });
      const all = [4, 3, 2];
      const factors = layout.tiles.map(({ rows, columns }, tile) => ({
        left: tensorOf(random(38, rows.end - rows.start, all[tile] as number)),
        right: tensorOf(random(40 + tile, all[tile] as number, columns.end - columns.start)),
      }));
      const levels = [
        { ranks: [2, 0, 1], weight: 0.2 },
        { ranks: [2, 2, 1], weight: 0.3 },
        { ranks: all, weight: 0.5 },
      ];
      const fit = new JointFit({ target, layout, metric, levels }, factors);
      const start = fit.start();
      const { value, gradient } = await fit.evaluate(start);

      // The value is the weighted sum of squared errors with the left factors that belong to the point.
      const found = await fit.factorsAt(start);
      let expected = 0;
      for (const { ranks, weight: share } of levels) {
        const seen = await Promise.all(
          found.map(async (own, tile) => {
            const { columns } = layout.tiles[tile] as Layout["tiles"][number];
            const across = await metric.fromCoordinates((own as { right: tf.Tensor2D }).right, columns);
            return { left: (own as { left: tf.Tensor2D }).left, across, rank: ranks[tile] as number };
          }),
        );
        const sum = layout.tiles.map(({ rows }, tile) => {
          const { left, across, rank } = seen[tile] as (typeof seen)[number];
          const image = tf.matMul(tf.slice(left, [0, 0], [-1, rank]), tf.slice(across, [0, 0], [rank, -1]));
          return tf.pad(image, [
            [rows.start, 18 - rows.end],
            [0, 0],
          ]);
        });
        const [squares = 0] = await tf.sum(tf.square(tf.sub(target, tf.addN(sum)))).data();
        expected += share * squares;
      }
      const [at = 0] = await value.data();
      expect(Math.abs(at / expected - 1)).toBeLessThan(1e-4);

      const along = tf.tensor1d(Float32Array.from(random(44, 1, start.size).values));
      const step = 3e-3;
      const valueAt = async (by: number) => {
        const moved = await fit.evaluate(tf.add(start, tf.mul(along, by)) as tf.Tensor1D);
        return (await moved.value.data())[0] as number;
      };
      const difference = ((await valueAt(step)) - (await valueAt(-step))) / (2 * step);
      const [slope = 0] = await tf.sum(tf.mul(gradient, along)).data();
      expect(Math.abs(difference - slope)).toBeLessThan(0.01 * Math.abs(slope) + 1e-4);
      metric.dispose();
    },
  );
});

test("sizes that fall, or below one multiply-add, are refused", async () => {
  const [weight, sigma] = [tensorOf(random(31, 8, 8)), tensorOf(covariance(8))];
  for (const allowed of [[], [40, 20], [0, 10]]) {
    await expect(searchNested(weight, sigma, { allowed }).next()).rejects.toThrow(/allowed must be budgets/);
  }
});
