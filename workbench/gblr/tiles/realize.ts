// Turns a fit into the parameters of a GBLR matrix: the blocks of its tiles, in float32, and their error.

import {
  matMul,
  mul,
  reshape,
  square,
  sub,
  sum,
  type Tensor2D,
  tensor2d,
  tensor3d,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { Matrix } from "ml-matrix";
import type { Sides } from "../init/rules.ts";
import type { GblrParameters } from "../matrix.ts";
import { type Block, inGroups } from "./block.ts";
import { blocksOf } from "./elimination.ts";
import type { TileFit } from "./fit.ts";
import { lengthOf, type OutputMetric } from "./metric.ts";
import { summariesOf, type TileSummary } from "./summary.ts";

/** Largest ratio of the error of the blocks in float32 to the error of the tiles. */
const MOST_LOSS = 1.001;
/** Rounding of errors in float32. */
const ROUNDING = 1e-6;

/** Blocks as parameters of a GBLR matrix, and what they reach. */
export interface Realized {
  /** the caller disposes of them */
  parameters: GblrParameters;
  /** ‖(T − W') Σ^½‖ / ‖T Σ^½‖ */
  error: number;
  /** multiply-adds per row */
  cost: number;
  tiles: TileSummary[];
}

interface RealizeOptions {
  target: Tensor2D;
  metric: OutputMetric;
  /** norm of the whitened target */
  scale: number;
  /** largest error with which blocks are useful, that of the best low rank of the same cost */
  mostError: number;
}

/** The blocks of a fit with their error; undefined if they cannot be computed precisely enough to be useful. */
export async function realized(
  fit: TileFit,
  { target, metric, scale, mostError }: RealizeOptions,
): Promise<Realized | undefined> {
  const factors = await Promise.all(
    (await fit.entries()).map(async (own) => {
      if (!own) return undefined;
      const found = { left: await hostMatrix(own.left), right: await hostMatrix(own.right) };
      own.left.dispose();
      own.right.dispose();
      return found;
    }),
  );
  const { blockRank } = fit.layout;
  const single = blocksOf(fit.layout, factors);
  if (single === undefined) return undefined;
  const blocks = inGroups(single, blockRank);
  const [nOut, nIn] = target.shape;
  const parameters = parametersOf(blocks, { nIn, nOut, blockRank });
  const squares = tidy(() => {
    const rows = reshape(parameters.lr_weight1, [blocks.length, nIn]) as Tensor2D;
    const columns = reshape(transpose(parameters.lr_weight2, [0, 2, 1]), [blocks.length, nOut]) as Tensor2D;
    const left = mul(metric.whitened(sub(target, mul(matMul(columns, rows, true), scale))), 1 / scale);
    return sum(sum(square(left), 1));
  });
  const [value = 0] = await squares.data();
  squares.dispose();
  const error = Math.sqrt(value);
  if (!(error <= Math.min(MOST_LOSS * (await fit.error()), mostError) + ROUNDING)) {
    for (const tensor of Object.values(parameters)) tensor.dispose();
    return undefined;
  }
  const root = Math.sqrt(scale);
  const scaled = tidy(() => ({
    ...parameters,
    lr_weight1: mul(parameters.lr_weight1, root),
    lr_weight2: mul(parameters.lr_weight2, root),
  }));
  parameters.lr_weight1.dispose();
  parameters.lr_weight2.dispose();
  const cost = blocks.reduce((total, { rows, columns }) => total + lengthOf(rows) + lengthOf(columns), 0);
  return { parameters: scaled, error, cost, tiles: await summariesOf(fit, blocks) };
}

async function hostMatrix(tensor: Tensor2D): Promise<Matrix> {
  const [rows, columns] = tensor.shape;
  return Matrix.from1DArray(rows, columns, await tensor.data());
}

/**
 * The blocks as parameters of a GBLR matrix; values outside the windows are zero. Each `blockRank` blocks, which have the
 * same windows, are one block of that rank.
 */
export function parametersOf(
  blocks: readonly Block[],
  { nIn, nOut, blockRank: r }: Sides & { blockRank: number },
): GblrParameters {
  const count = blocks.length / r;
  const [inputs, outputs] = [new Float32Array(count * r * nIn), new Float32Array(count * r * nOut)];
  const [widths, locations] = [new Float32Array(2 * count), new Float32Array(2 * count)];
  blocks.forEach(({ rows, columns, left, right }, b) => {
    const k = Math.floor(b / r);
    inputs.set(right, b * nIn + columns.start);
    outputs.set(left, b * nOut + rows.start);
    widths[k] = (columns.end - columns.start) / nIn;
    widths[count + k] = (rows.end - rows.start) / nOut;
    locations[k] = columns.start / nIn;
    locations[count + k] = rows.start / nOut;
  });
  return tidy(() => ({
    lr_weight1: tensor3d(inputs, [count, r, nIn]),
    lr_weight2: transpose(tensor3d(outputs, [count, r, nOut]), [0, 2, 1]),
    widths: tensor2d(widths, [2, count]),
    locations: tensor2d(locations, [2, count]),
  }));
}
