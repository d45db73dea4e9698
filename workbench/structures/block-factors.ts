// A matrix of J × K blocks that all have the same low rank, stored as two stacks of factors. Monarch, block low rank and
// BTT share this form. They differ in the rows of a block: every J-th (`strided`) or adjacent ones (`contiguous`). The
// nearest such matrix is found block by block. Products pad sizes that J and K do not divide with zeros; parameters are
// not padded.

import {
  matMul,
  mul,
  pad,
  reshape,
  slice,
  sqrt,
  stack,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  type Tensor4D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { svd } from "../engine/linalg/index.ts";
import { asRows } from "../engine/ops/op.ts";
import { expectOperand } from "../engine/ops/operands.ts";
import type { MatrixSize } from "./budget.ts";

/** The rows of block row j: `strided` j, j + J, j + 2 J, …; `contiguous` j s … j s + s - 1, with s rows per block. */
export type RowOrder = "strided" | "contiguous";

/** The two stacks of factors. */
export interface BlockFactors {
  /** input side, (n_in, r, J): row c holds the factors of the block column that contains c */
  first: Tensor3D;
  /** output side, (n_out, K, r): row o holds the factors of the block row that contains o */
  second: Tensor3D;
}

/** The sizes of a matrix and its blocks. */
export interface BlockSizes extends MatrixSize {
  /** J, blocks on the output side */
  rows: number;
  /** K, blocks on the input side */
  columns: number;
  rank: number;
  /** rows of a block, ⌈n_out / J⌉ */
  height: number;
  /** columns of a block, ⌈n_in / K⌉ */
  width: number;
}

/**
 * The sizes given by the shapes of the factors.
 * @throws ShapeError when the shapes of the factors do not match
 */
export function blockSizes(structure: string, { first, second }: BlockFactors): BlockSizes {
  expectOperand(structure, { first }, { dtype: "float32", shape: ["n_in", "rank", "rows"] });
  const [nIn, rank, rows] = first.shape;
  expectOperand(structure, { second }, { dtype: "float32", shape: ["n_out", "columns", rank] });
  const [nOut, columns] = second.shape;
  return { nIn, nOut, rows, columns, rank, height: Math.ceil(nOut / rows), width: Math.ceil(nIn / columns) };
}

/** Multiply-adds per row of `blockProduct`, including those with padding. */
export const blockCost = ({ rows, columns, rank, height, width }: Omit<BlockSizes, "nIn" | "nOut">): number =>
  rows * columns * rank * (height + width);

/** Multiply-adds per row, from the shapes of `first` and `second`. */
export function costOfShapes({ first, second }: Readonly<Record<string, readonly number[]>> = {}): number {
  const [nIn = 0, rank = 0, rows = 0] = first ?? [];
  const [nOut = 0, columns = 0] = second ?? [];
  return blockCost({ rows, columns, rank, height: Math.ceil(nOut / rows), width: Math.ceil(nIn / columns) });
}

/** The product of x (…, n_in) with the matrix, (…, n_out). Differentiable in x and both factors. */
export function blockProduct(factors: BlockFactors, x: Tensor, order: RowOrder, structure: string): Tensor {
  const sizes = blockSizes(structure, factors);
  expectOperand(structure, { x }, { dtype: "float32", shape: ["...", sizes.nIn] });
  return tidy(() => {
    const stacks = stacked(factors, sizes, order);
    const y = blockDiagonalProduct(asRows(x) as Tensor2D, { ...stacks, nOut: sizes.nOut, order });
    return reshape(y, [...x.shape.slice(0, -1), sizes.nOut]);
  });
}

/** Two stacks of dense blocks, each the diagonal of a block-diagonal matrix. */
export interface BlockDiagonals {
  /** (K, p, q): K dense blocks on the input side, K p ≥ n_in */
  first: Tensor3D;
  /** (J, s, t): J dense blocks on the output side, J t = K q, J s ≥ n_out */
  second: Tensor3D;
  nOut: number;
  order: RowOrder;
}

/**
 * Two block-diagonal products with a permutation between them. Output f of the first stack, counted over all of its
 * blocks, is input ⌊f / J⌋ of block f mod J of the second stack (Dao et al. 2022, arXiv 2204.00595, section 3.1).
 * @param x (rows, n_in)
 * @returns (rows, n_out)
 */
export function blockDiagonalProduct(x: Tensor2D, { first, second, nOut, order }: BlockDiagonals): Tensor2D {
  return tidy(() => {
    const [columns, width] = first.shape;
    const [rows, height, inner] = second.shape;
    const count = x.shape[0];
    const inputs = transpose(reshape(filled(x, 1, columns * width), [count, columns, width]), [1, 0, 2]);
    const between = transpose(matMul(inputs, first), [1, 0, 2]);
    const middle = transpose(reshape(between, [count, inner, rows]), [2, 0, 1]);
    const outputs = transpose(matMul(middle, second, false, true), order === "strided" ? [1, 2, 0] : [1, 0, 2]);
    return cut(reshape(outputs, [count, rows * height]) as Tensor2D, 1, nOut);
  });
}

/** The matrix (n_out, n_in), differentiable in both factors. */
export function blockMatrix(factors: BlockFactors, order: RowOrder, structure: string): Tensor2D {
  const sizes = blockSizes(structure, factors);
  const { rows, columns, rank, height, width, nOut, nIn } = sizes;
  return tidy(() => {
    const { first, second } = stacked(factors, sizes, order);
    const left = transpose(reshape(second, [rows, height, columns, rank]), [0, 2, 1, 3]);
    const right = transpose(reshape(first, [columns, width, rank, rows]), [3, 0, 2, 1]);
    const blocks = matMul(left, right);
    const placed = transpose(blocks, order === "strided" ? [2, 0, 1, 3] : [0, 2, 1, 3]);
    const whole = reshape(placed, [rows * height, columns * width]) as Tensor2D;
    return cut(cut(whole, 0, nOut), 1, nIn);
  });
}

/** Both factors as stacks of dense blocks, padded with zeros: (K, p, r J) and (J, s, K r). */
function stacked({ first, second }: BlockFactors, sizes: BlockSizes, order: RowOrder) {
  const { rows, columns, rank, height, width } = sizes;
  const outputs = filled(second, 0, rows * height);
  const inner = columns * rank;
  const strided = () => transpose(reshape(outputs, [height, rows, inner]), [1, 0, 2]);
  return {
    first: reshape(filled(first, 0, columns * width), [columns, width, rank * rows]) as Tensor3D,
    second: (order === "strided" ? strided() : reshape(outputs, [rows, height, inner])) as Tensor3D,
  };
}

/** Pads one axis with zeros at its end, up to `length`. */
export function filled<T extends Tensor>(tensor: T, axis: number, length: number): T {
  const missing = length - (tensor.shape[axis] as number);
  return missing === 0
    ? tensor
    : (pad(
        tensor as Tensor,
        tensor.shape.map((_, i): [number, number] => [0, i === axis ? missing : 0]),
      ) as T);
}

/** The first `length` entries along one axis. */
export function cut<T extends Tensor>(tensor: T, axis: number, length: number): T {
  if (tensor.shape[axis] === length) {
    return tensor;
  }
  const size = tensor.shape.map((all, i) => (i === axis ? length : all));
  return slice(
    tensor as Tensor,
    tensor.shape.map(() => 0),
    size,
  ) as T;
}

interface BlockGridOptions {
  /** J, blocks on the output side */
  rows: number;
  /** K, blocks on the input side */
  columns: number;
  /** rank of each block, at most ⌈n_out / J⌉ and ⌈n_in / K⌉ */
  rank: number;
  order: RowOrder;
}

/**
 * The nearest matrix in the Frobenius norm whose blocks all have the given rank: each block is replaced by its largest
 * singular triples, with √s on each side. Blocks have no entries in common, so the nearest blocks give the nearest
 * matrix (Dao et al. 2022, arXiv 2204.00595, theorem 1).
 * @param weight float32 (n_out, n_in)
 */
export async function projectBlocks(weight: Tensor2D, options: BlockGridOptions): Promise<BlockFactors> {
  const { rows, columns, rank, order } = options;
  const [nOut, nIn] = weight.shape;
  const grid = blockGrid(weight, options);
  const [, , height, width] = grid.shape;
  const lefts: Tensor2D[] = [];
  const rights: Tensor2D[] = [];
  for (let at = 0; at < rows * columns; at++) {
    const [j, k] = [Math.floor(at / columns), at % columns];
    const block = tidy(() => reshape(slice(grid, [j, k, 0, 0], [1, 1, height, width]), [height, width]) as Tensor2D);
    const { u, s, v } = await svd(block, { rank });
    const [left, right] = tidy(() => [mul(u, sqrt(s)), mul(v, sqrt(s))]) as [Tensor2D, Tensor2D];
    lefts.push(left);
    rights.push(right);
    for (const tensor of [block, u, s, v]) {
      tensor.dispose();
    }
  }
  const factors = tidy(() => {
    // (J, K, s, r) → (s, J, K, r) or (J, s, K, r), and (J, K, p, r) → (K, p, r, J)
    const outputs = reshape(stack(lefts), [rows, columns, height, rank]);
    const inputs = reshape(stack(rights), [rows, columns, width, rank]);
    const second = transpose(outputs, order === "strided" ? [2, 0, 1, 3] : [0, 2, 1, 3]);
    const first = transpose(inputs, [1, 2, 3, 0]);
    return {
      first: cut(reshape(first, [-1, rank, rows]) as Tensor3D, 0, nIn),
      second: cut(reshape(second, [-1, columns, rank]) as Tensor3D, 0, nOut),
    };
  });
  for (const tensor of [grid, ...lefts, ...rights]) {
    tensor.dispose();
  }
  return factors;
}

/** weight (n_out, n_in), padded with zeros → (J, K, s, p). */
function blockGrid(weight: Tensor2D, { rows, columns, order }: BlockGridOptions): Tensor4D {
  const [nOut, nIn] = weight.shape;
  const [height, width] = [Math.ceil(nOut / rows), Math.ceil(nIn / columns)];
  return tidy(() => {
    const whole = filled(filled(weight, 0, height * rows), 1, width * columns);
    return order === "strided"
      ? transpose(reshape(whole, [height, rows, columns, width]) as Tensor4D, [1, 2, 0, 3])
      : transpose(reshape(whole, [rows, height, columns, width]) as Tensor4D, [0, 2, 1, 3]);
  });
}
