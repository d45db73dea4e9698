// Where the kept blocks of a block-sparse matrix lie, and their way in and out of a whole matrix. No fitting.

import {
  concat,
  gather,
  reshape,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
  tensor1d,
  tidy,
  transpose,
  zeros,
} from "@tensorflow/tfjs-core";
import { cut, filled } from "./block-factors.ts";
import type { MatrixSize } from "./budget.ts";
import { keptColumns } from "./butterfly.ts";

export interface BlockSparseParameters {
  /** (side, height, kept, width) */
  values: Tensor4D;
  /** (n_out, r) */
  left: Tensor2D;
  /** (r, n_in) */
  right: Tensor2D;
}

export interface Pattern {
  /** blocks on each side, a power of two */
  side: number;
  /** block row i keeps columns i XOR mask */
  masks: readonly number[];
}

/** Of the kept blocks, row by row: their block columns, and their numbers in the whole grid. */
export function blockCells({ side, masks }: Pattern): { columns: Tensor1D; cells: Tensor1D } {
  const columns = keptColumns(side, masks);
  const cells = columns.map((column, at) => Math.floor(at / masks.length) * side + column);
  return { columns: tensor1d(columns, "int32"), cells: tensor1d(cells, "int32") };
}

/** The kept blocks of a matrix (n_out, n_in), (side, height, kept, width). */
export function taken(matrix: Tensor2D, pattern: Pattern): Tensor4D {
  const { side, masks } = pattern;
  const [height, width] = matrix.shape.map((length) => Math.ceil(length / side)) as [number, number];
  return tidy(() => {
    const whole = filled(filled(matrix, 0, side * height), 1, side * width);
    const grid = transpose(reshape(whole, [side, height, side, width]), [0, 2, 1, 3]);
    const blocks = gather(reshape(grid, [side * side, height * width]), blockCells(pattern).cells);
    return transpose(reshape(blocks, [side, masks.length, height, width]), [0, 2, 1, 3]) as Tensor4D;
  });
}

/** The matrix (n_out, n_in) with these blocks and zeros elsewhere; differentiable. */
export function placed(values: Tensor4D, { side, masks }: Pattern, { nOut, nIn }: MatrixSize): Tensor2D {
  const [, height, kept, width] = values.shape;
  return tidy(() => {
    const blocks = reshape(transpose(values, [0, 2, 1, 3]), [side * kept, height * width]);
    // One more block, of zeros, stands for all that are not kept: a gather has a gradient, a scatter has none.
    const sources = new Int32Array(side * side).fill(side * kept);
    keptColumns(side, masks).forEach((column, at) => {
      sources[Math.floor(at / kept) * side + column] = at;
    });
    const grid = gather(concat([blocks, zeros([1, height * width])]), tensor1d(sources, "int32"));
    const rows = transpose(reshape(grid, [side, side, height, width]), [0, 2, 1, 3]);
    return cut(cut(reshape(rows, [side * height, side * width]) as Tensor2D, 0, nOut), 1, nIn);
  });
}
