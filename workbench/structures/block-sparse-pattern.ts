// The blocks of a block-sparse matrix: which of a square grid a flat butterfly keeps (Chen et al. 2022, arXiv 2112.00029,
// section 3.2: block row i keeps columns i XOR m for some masks m), their way in and out of a whole matrix, and their fit
// together with a low-rank part.

import {
  concat,
  gather,
  matMul,
  mul,
  reshape,
  sqrt,
  sub,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
  tensor1d,
  tidy,
  transpose,
  zeros,
} from "@tensorflow/tfjs-core";
import { svd } from "../engine/linalg/index.ts";
import { cut, filled } from "./block-factors.ts";
import type { MatrixSize } from "./budget.ts";

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
function taken(matrix: Tensor2D, pattern: Pattern): Tensor4D {
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

interface BlockSparseFit extends Pattern {
  /** of the low-rank part; may be 0 */
  rank: number;
  /** times that both parts are fitted after the first */
  rounds: number;
}

/**
 * Fits kept blocks and a low-rank part to a matrix together, by turns: each step is the best of one part for the other as
 * it stands, so the error never grows.
 * @param weight float32 (n_out, n_in)
 */
export async function fitBlockSparse(
  weight: Tensor2D,
  { rank, rounds, ...pattern }: BlockSparseFit,
): Promise<BlockSparseParameters> {
  const [nOut, nIn] = weight.shape;
  let values = taken(weight, pattern);
  if (rank === 0) {
    return { values, left: zeros([nOut, 0]), right: zeros([0, nIn]) };
  }
  for (let round = 0; ; round++) {
    const rest = tidy(() => sub<Tensor2D>(weight, placed(values, pattern, { nOut, nIn })));
    const { left, right } = await thinFactors(rest, rank);
    rest.dispose();
    values.dispose();
    values = tidy(() => taken(sub(weight, matMul(left, right)), pattern));
    if (round === rounds) {
      return { values, left, right };
    }
    left.dispose();
    right.dispose();
  }
}

async function thinFactors(matrix: Tensor2D, rank: number): Promise<{ left: Tensor2D; right: Tensor2D }> {
  const { u, s, v } = await svd(matrix, { rank });
  const factors = tidy(() => ({ left: mul<Tensor2D>(u, sqrt(s)), right: transpose(mul<Tensor2D>(v, sqrt(s))) }));
  for (const tensor of [u, s, v]) {
    tensor.dispose();
  }
  return factors;
}

/**
 * The first `count` masks: 0 is the diagonal, the powers of two are the butterfly's factors, and the rest follow by how
 * many bits they have, so that all of them together keep every block.
 * @param side blocks on each side, a power of two
 */
export function butterflyMasks(side: number, count: number): number[] {
  const bits = (mask: number) => mask.toString(2).replaceAll("0", "").length;
  return Array.from({ length: side }, (_, mask) => mask)
    .sort((a, b) => bits(a) - bits(b) || a - b)
    .slice(0, count);
}

/** The columns that each block row keeps, row by row: side · masks.length indices. */
function keptColumns(side: number, masks: readonly number[]): Int32Array {
  return Int32Array.from({ length: side * masks.length }, (_, at) => {
    const row = Math.floor(at / masks.length);
    return row ^ (masks[at % masks.length] as number);
  });
}
