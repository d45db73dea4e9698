// The pattern of a block-sparse matrix, and the fit of its blocks together with a low-rank part. The pattern is a flat
// butterfly on a square grid of blocks: block row i keeps the block columns i XOR m for some masks m (Chen et al. 2022,
// arXiv 2112.00029, section 3.2).

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

/** The kept blocks and the two factors of the low-rank part. */
export interface BlockSparseParameters {
  /** (side, height, kept, width) */
  values: Tensor4D;
  /** (n_out, r) */
  left: Tensor2D;
  /** (r, n_in) */
  right: Tensor2D;
}

/** The blocks of a square grid that are kept. */
export interface Pattern {
  /** blocks on each side, a power of two */
  side: number;
  /** block row i keeps the block columns i XOR mask */
  masks: readonly number[];
}

/** The block columns of the kept blocks, row by row, and their indices in the grid. */
export function blockCells({ side, masks }: Pattern): { columns: Tensor1D; cells: Tensor1D } {
  const columns = keptColumns(side, masks);
  const cells = columns.map((column, at) => Math.floor(at / masks.length) * side + column);
  return { columns: tensor1d(columns, "int32"), cells: tensor1d(cells, "int32") };
}

/** The kept blocks of a matrix (n_out, n_in), as (side, height, kept, width). */
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
    // Blocks that are not kept are gathered from one extra block of zeros: gather has a gradient, scatter has none.
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
  /** rank of the low-rank part; may be 0 */
  rank: number;
  /** how many times both parts are fitted again after the first fit */
  rounds: number;
}

/**
 * Fits the kept blocks and a low-rank part to a matrix by alternating minimization: each step is optimal for one part
 * while the other is fixed, so the error never increases.
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

/** The nearest factors of a given rank, with √s on each side. */
async function thinFactors(matrix: Tensor2D, rank: number): Promise<{ left: Tensor2D; right: Tensor2D }> {
  const { u, s, v } = await svd(matrix, { rank });
  const factors = tidy(() => ({ left: mul<Tensor2D>(u, sqrt(s)), right: transpose(mul<Tensor2D>(v, sqrt(s))) }));
  for (const tensor of [u, s, v]) {
    tensor.dispose();
  }
  return factors;
}

/**
 * The first `count` masks, in the order of their number of bits: 0 is the diagonal, the powers of two are the
 * butterfly's factors. All `side` masks together keep every block.
 * @param side blocks on each side, a power of two
 */
export function butterflyMasks(side: number, count: number): number[] {
  const bits = (mask: number) => mask.toString(2).replaceAll("0", "").length;
  return Array.from({ length: side }, (_, mask) => mask)
    .sort((a, b) => bits(a) - bits(b) || a - b)
    .slice(0, count);
}

/** The block columns that each block row keeps, row by row: side · masks.length indices. */
function keptColumns(side: number, masks: readonly number[]): Int32Array {
  return Int32Array.from({ length: side * masks.length }, (_, at) => {
    const row = Math.floor(at / masks.length);
    return row ^ (masks[at % masks.length] as number);
  });
}
