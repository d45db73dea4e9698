// The fit of all tiles at once: against the conditions of a minimum in float64, a matrix that is a sum of tiles, and
// updates of one tile after the other.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { TileFit } from "../../../workbench/gblr/tiles/fit.ts";
import { dividedLayout, type Layout } from "../../../workbench/gblr/tiles/layout.ts";
import { OutputMetric } from "../../../workbench/gblr/tiles/metric.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { liveTensors } from "../../engine/ops/operands.ts";
import { COVARIANCES, normOf, random, tensorOf, times, transposed, type Values } from "./cases.ts";

const covariance = (n: number): Values =>
  (COVARIANCES["many mixed inputs"] as (seed: number, n: number) => Values)(91, n);

const LAYOUTS: [string, Layout, number[]][] = [
  ["columns", dividedLayout({ nIn: 30, nOut: 24 }, { divides: "columns", groups: 3, shared: 0.5 }), [4, 2, 3, 2]],
  ["rows", dividedLayout({ nIn: 24, nOut: 30 }, { divides: "rows", groups: 3, shared: 0.5 }), [4, 2, 3, 2]],
  ["columns alone", dividedLayout({ nIn: 30, nOut: 24 }, { divides: "columns", groups: 3, shared: 0 }), [0, 5, 0, 4]],
];

const sidesOf = ({ tiles: [whole] }: Layout): [number, number] => [
  whole?.rows.end as number,
  whole?.columns.end as number,
];

/** A fit of a matrix whose norm is 1 after the product with L. The result disposes of everything. */
async function opened(layout: Layout, matrix: Values) {
  const sigma = tensorOf(covariance(matrix.columns));
  const metric = await OutputMetric.of(sigma);
  const whole = tensorOf(matrix);
  const target = tf.tidy(() => {
    const seen = metric.whitened(whole);
    return tf.div(seen, tf.norm(seen)) as tf.Tensor2D;
  });
  tf.dispose([sigma, whole]);
  const fit = new TileFit(layout, target, metric);
  const close = () => {
    fit.dispose();
    metric.dispose();
    target.dispose();
  };
  return { fit, metric, target, close };
}

/** Updates each tile with a fixed rank. */
async function round(fit: TileFit, ranks: readonly number[]): Promise<void> {
  for (const [tile, rank] of ranks.entries()) await fit.update(tile, { least: rank, most: rank, price: 0 });
}

const hostOf = async (tensor: tf.Tensor2D): Promise<Values> => ({
  values: Float64Array.from(await tensor.data()),
  rows: tensor.shape[0],
  columns: tensor.shape[1],
});

const part = (
  { values, columns }: Values,
  from: { start: number; end: number },
  across: { start: number; end: number },
) => ({
  values: Float64Array.from({ length: (from.end - from.start) * (across.end - across.start) }, (_, i) => {
    const width = across.end - across.start;
    return values[(from.start + Math.floor(i / width)) * columns + across.start + (i % width)] as number;
  }),
  rows: from.end - from.start,
  columns: across.end - across.start,
});

forEachEngine("the joint fit of tiles", () => {
  test.each(LAYOUTS)(
    "of %s never raises the error, and gains on ten rounds over the tiles",
    async (_, layout, ranks) => {
      const before = liveTensors();
      const { fit, close } = await opened(layout, random(92, ...sidesOf(layout)));
      await round(fit, ranks);
      const start = await fit.error();
      await fit.updateTogether(30);
      const together = await fit.error();
      expect(together).toBeLessThan(start);
      expect(fit.ranks).toEqual(ranks);
      close();
      const other = await opened(layout, random(92, ...sidesOf(layout)));
      for (let i = 0; i < 10; i++) await round(other.fit, ranks);
      expect(together).toBeLessThan((await other.fit.error()) * 1.001);
      other.close();
      expect(liveTensors()).toEqual(before);
    },
  );

  test.each(LAYOUTS)("of %s ends where the gradient by all factors is zero", async (_, layout, ranks) => {
    const { fit, metric, target, close } = await opened(layout, random(93, ...sidesOf(layout)));
    await round(fit, ranks);
    // The first layout needs up to 500 evaluations with float32's rounding, by engine.
    await fit.updateTogether(800);
    const seen = await hostOf(target);
    // The residual in float64, from the entries of the factors.
    const identity = tf.eye(seen.columns) as tf.Tensor2D;
    const lower = metric.whitened(identity);
    const root = await hostOf(lower);
    tf.dispose([identity, lower]);
    const factors = await Promise.all(
      (await fit.entries()).map(async (own) => {
        if (!own) return undefined;
        const found = { left: await hostOf(own.left), right: await hostOf(own.right) };
        tf.dispose([own.left, own.right]);
        return found;
      }),
    );
    const rest = { ...seen, values: seen.values.slice() };
    const all = { start: 0, end: seen.columns };
    const rootOf = (tile: number) => part(root, layout.tiles[tile]?.columns as { start: number; end: number }, all);
    for (const [tile, own] of factors.entries()) {
      if (!own) continue;
      const image = times(times(own.left, own.right), rootOf(tile));
      const from = (layout.tiles[tile]?.rows.start as number) * seen.columns;
      for (const [i, value] of image.values.entries())
        rest.values[from + i] = (rest.values[from + i] as number) - value;
    }
    const error = normOf(rest);
    for (const [tile, own] of factors.entries()) {
      if (!own) continue;
      const mine = part(rest, layout.tiles[tile]?.rows as { start: number; end: number }, all);
      const image = times(own.right, rootOf(tile));
      // The cosines between the residual and what a change of either factor can express.
      const byLeft = normOf(times(mine, transposed(image))) / (error * normOf(image));
      const slope = tensorOf(times(transposed(own.left), mine));
      const within = await metric.coordinates(slope, layout.tiles[tile]?.columns as { start: number; end: number });
      const byRight = normOf(await hostOf(within)) / (error * normOf(own.left));
      tf.dispose([slope, within]);
      expect(byLeft).toBeLessThan(1e-3);
      expect(byRight).toBeLessThan(1e-3);
    }
    close();
  });

  test.each(LAYOUTS)("of %s finds a matrix that is a sum of such tiles", async (_, layout, ranks) => {
    const [m, n] = sidesOf(layout);
    const sum = { values: new Float64Array(m * n), rows: m, columns: n };
    for (const [tile, { rows, columns }] of layout.tiles.entries()) {
      const rank = ranks[tile] as number;
      if (rank === 0) continue;
      const [height, width] = [rows.end - rows.start, columns.end - columns.start];
      const own = times(random(94 + tile, height, rank), random(99 + tile, rank, width));
      for (const [i, value] of own.values.entries()) {
        const at = (rows.start + Math.floor(i / width)) * n + columns.start + (i % width);
        sum.values[at] = Math.fround((sum.values[at] as number) + value);
      }
    }
    const { fit, close } = await opened(layout, sum);
    await round(fit, ranks);
    for (let i = 0; i < 6; i++) {
      await fit.updateTogether(60);
      await round(fit, ranks);
    }
    expect(await fit.error()).toBeLessThan(3e-3);
    close();
  });

  test("of tiles without ranks changes nothing", async () => {
    const [, layout] = LAYOUTS[0] as (typeof LAYOUTS)[number];
    const { fit, close } = await opened(layout, random(95, ...sidesOf(layout)));
    await fit.updateTogether(10);
    expect(await fit.error()).toBeCloseTo(1, 5);
    close();
  });
});
