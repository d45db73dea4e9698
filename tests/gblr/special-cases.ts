// Low-rank, block-low-rank and block-sparse matrices written as GBLR parameters: the same matrix, at the same cost
// (arXiv 2310.18882, section 3). Places given factors or blocks; approximates nothing.

import {
  eye,
  pad,
  reshape,
  stack,
  type Tensor2D,
  type Tensor3D,
  tensor2d,
  tidy,
  transpose,
  unstack,
} from "@tensorflow/tfjs-core";
import { ShapeError } from "../../workbench/engine/core/errors.ts";
import { expectOperand } from "../../workbench/engine/ops/operands.ts";
import type { GblrParameters } from "../../workbench/gblr/matrix.ts";

/**
 * W = U V as blocks of full width, one a rank.
 * @param output U, float32 (n_out, r)
 * @param input V, float32 (r, n_in)
 * @throws ShapeError when the factors do not fit
 */
export function lowRank(output: Tensor2D, input: Tensor2D): GblrParameters {
  expectOperand("lowRank", { input }, { dtype: "float32", shape: ["r", "n_in"] });
  const [rank, nIn] = input.shape;
  expectOperand("lowRank", { output }, { dtype: "float32", shape: ["n_out", rank] });
  const nOut = output.shape[0];
  return tidy(() => ({
    lr_weight1: reshape(input, [rank, 1, nIn]),
    lr_weight2: reshape(transpose(output), [rank, nOut, 1]),
    widths: tensor2d(new Float32Array(2 * rank).fill(1), [2, rank]),
    locations: tensor2d(new Float32Array(2 * rank), [2, rank]),
  }));
}

/**
 * A grid of low-rank blocks: block (i, j) is U_ij V_ij, its rank-1 parts blocks that share their window.
 * @param output U, float32 (rows · columns, n_out / rows, r), the grid row by row
 * @param input V, float32 (rows · columns, r, n_in / columns)
 * @throws ShapeError when the factors do not fill the grid
 */
export function blockLowRank(output: Tensor3D, input: Tensor3D, grid: Grid): GblrParameters {
  expectOperand("blockLowRank", { input }, { dtype: "float32", shape: [grid.rows * grid.columns, "r", "s"] });
  const [count, rank, width] = input.shape;
  expectOperand("blockLowRank", { output }, { dtype: "float32", shape: [count, "t", rank] });
  const places = Array.from({ length: count }, (_, k) => k);
  return tidy(() => {
    const rows = reshape(transpose(output, [0, 2, 1]), [count * rank, 1, -1]) as Tensor3D;
    const columns = reshape(input, [count * rank, 1, width]) as Tensor3D;
    return placed({ rows, columns, grid, places: places.flatMap((place) => new Array<number>(rank).fill(place)) });
  });
}

/**
 * A grid with some blocks that are dense and all others 0. A dense block is one block of full rank, a unit matrix for
 * one of its factors: its cost is the number of its entries.
 * @param blocks float32 (count, n_out / rows, n_in / columns)
 * @param places of the dense blocks, row · columns + column, each at most once
 * @throws ShapeError when there is no block, not as many places as blocks, or a place that is not on the grid
 */
export function blockSparse(blocks: Tensor3D, places: readonly number[], grid: Grid): GblrParameters {
  expectOperand("blockSparse", { blocks }, { dtype: "float32", shape: [places.length, "t", "s"] });
  const taken = new Set(places.filter((at) => Number.isInteger(at) && at >= 0 && at < grid.rows * grid.columns));
  if (taken.size === 0 || taken.size !== places.length) {
    throw new ShapeError(
      `blockSparse: places must be different cells of a ${grid.rows} by ${grid.columns} grid, got ${places.join(", ")}`,
    );
  }
  const [count, height, width] = blocks.shape;
  const rank = Math.min(height, width);
  return tidy(() => {
    const units = stack(Array.from({ length: count }, () => eye(rank))) as Tensor3D;
    // (count, r, t) and (count, r, s)
    const tall = height >= width;
    const rows = (tall ? transpose(blocks, [0, 2, 1]) : units) as Tensor3D;
    return placed({ rows, columns: tall ? units : blocks, grid, places: [...places] });
  });
}

/** How a matrix is cut into equal cells. */
export interface Grid {
  rows: number;
  columns: number;
}

interface Placed {
  /** (K, r, n_out / grid rows) */
  rows: Tensor3D;
  /** (K, r, n_in / grid columns) */
  columns: Tensor3D;
  grid: Grid;
  /** the cell of each block */
  places: number[];
}

function placed({ rows, columns, grid, places }: Placed): Omit<GblrParameters, "bias"> {
  const [down, along] = [places.map((at) => Math.floor(at / grid.columns)), places.map((at) => at % grid.columns)];
  const count = places.length;
  const shares = [new Array<number>(count).fill(1 / grid.columns), new Array<number>(count).fill(1 / grid.rows)];
  const starts = [along.map((j) => j / grid.columns), down.map((i) => i / grid.rows)];
  return {
    lr_weight1: spread(columns, along, grid.columns),
    lr_weight2: transpose(spread(rows, down, grid.rows), [0, 2, 1]),
    widths: tensor2d(shares.flat(), [2, count], "float32"),
    locations: tensor2d(starts.flat(), [2, count], "float32"),
  };
}

/** (K, r, s) → (K, r, s · cells), row k in its cell, zeros around. */
function spread(factors: Tensor3D, cells: number[], count: number): Tensor3D {
  const width = factors.shape[2];
  const rows = unstack(factors).map((row, k) => {
    const before = (cells[k] as number) * width;
    return pad(row as Tensor2D, [
      [0, 0],
      [before, (count - 1) * width - before],
    ]);
  });
  return stack(rows) as Tensor3D;
}
