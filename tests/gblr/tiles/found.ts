// Runs the tile search, and computes the matrix of its result from the definition of GBLR blocks, in float64.

import { expect } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { searchTiles, type TileSearchOptions } from "../../../workbench/gblr/tiles/search.ts";
import { liveTensors } from "../../engine/ops/operands.ts";
import { bestLowRank, COVARIANCES, minus, normOf, rootOf, seenNorm, tensorOf, type Values } from "./cases.ts";

const at = (values: ArrayLike<number>, i: number): number => values[i] as number;

/** A matrix of blocks. */
export interface Found {
  dense: Values;
  /** samples of all windows */
  cost: number;
  blocks: number;
}

/** The matrix of these parameters, none of whose windows may pass an edge. */
export async function blocksIn(
  parameters: object,
  { rows, columns }: Pick<Values, "rows" | "columns">,
): Promise<Found> {
  const read = async (name: string) => (parameters as Record<string, tf.Tensor>)[name]?.data() as Promise<Float32Array>;
  const [v, u] = [await read("lr_weight1"), await read("lr_weight2")];
  const [widths, locations] = [await read("widths"), await read("locations")];
  const blocks = widths.length / 2;
  const dense = new Float64Array(rows * columns);
  let cost = 0;
  for (let k = 0; k < blocks; k++) {
    const window = (side: number, n: number) => {
      const start = Math.round(at(locations, side * blocks + k) * n);
      const length = Math.round(at(widths, side * blocks + k) * n);
      expect(length).toBeGreaterThanOrEqual(2);
      expect(start).toBeGreaterThanOrEqual(0);
      expect(start + length).toBeLessThanOrEqual(n);
      return { start, end: start + length, length };
    };
    const [input, output] = [window(0, columns), window(1, rows)];
    cost += input.length + output.length;
    for (let i = output.start; i < output.end; i++) {
      for (let j = input.start; j < input.end; j++) {
        dense[i * columns + j] = at(dense, i * columns + j) + at(u, k * rows + i) * at(v, k * columns + j);
      }
    }
  }
  return { dense: { values: dense, rows, columns }, cost, blocks };
}

/** What the search reports and what it found; undefined if it found nothing. Checks that no tensor is left. */
export async function searched(weight: Values, sigma: Values, options: TileSearchOptions) {
  const before = liveTensors();
  const [target, covariance] = [tensorOf(weight), tensorOf(sigma)];
  const steps: number[] = [];
  let result: (Found & { said: { error: number; cost: number; damping: number }; steps: number[] }) | undefined;
  for await (const event of searchTiles(target, covariance, options)) {
    expect(result).toBeUndefined();
    if (event.type === "progress") {
      steps.push(event.step);
      expect(event.step).toBeLessThanOrEqual(event.steps);
      continue;
    }
    const { parameters, error, cost, damping } = event;
    result = { ...(await blocksIn(parameters, weight)), said: { error, cost, damping }, steps };
    tf.dispose(parameters as unknown as tf.TensorContainer);
  }
  tf.dispose([target, covariance]);
  expect(liveTensors()).toEqual(before);
  return result;
}

/** The metric in which errors are measured: Σ^½, or the identity if Σ is zero. */
export const seenRoot = (sigma: Values): Values =>
  rootOf(
    normOf(sigma) === 0 ? (COVARIANCES["the identity"] as (_: number, n: number) => Values)(0, sigma.rows) : sigma,
  );

/**
 * The relative output error of the best low rank with plain factors of at most `allowed` multiply-adds.
 * @param added variance that is added to that of each input, and is part of the error then
 */
export function lowRankError(weight: Values, sigma: Values, allowed: number, added: (variance: number) => number) {
  const { rows, columns } = weight;
  const rank = Math.min(rows, columns, Math.floor(allowed / (rows + columns)));
  const root = seenRoot(sigma);
  const whole = seenNorm(weight, root);
  if (rank === 0 || whole === 0) return 1;
  const rest = minus(weight, bestLowRank(weight, root, rank));
  const unseen = {
    ...rest,
    values: rest.values.map((value, i) => {
      const variance = at(sigma.values, (i % columns) * (columns + 1));
      return value * Math.sqrt(added(variance));
    }),
  };
  return Math.hypot(seenNorm(rest, root), normOf(unseen)) / whole;
}

/** ‖(W − W') Σ^½‖ / ‖W Σ^½‖ in float64. */
export function outputError(weight: Values, approximation: Values, sigma: Values): number {
  const root = seenRoot(sigma);
  const whole = seenNorm(weight, root);
  return whole === 0 ? 0 : seenNorm(minus(weight, approximation), root) / whole;
}

/** The mean variance of inputs. */
export const meanVariance = ({ values, columns }: Values): number =>
  values.reduce((total, value, i) => total + (i % (columns + 1) === 0 ? value : 0), 0) / columns;
