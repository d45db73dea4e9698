// The singular value decomposition and the eigendecomposition of a symmetric matrix on any engine. They use the
// backend's kernel if it has one (torch), and otherwise compute on the host in float64. Neither has a gradient.

import { getBackend, getKernel, type Tensor1D, type Tensor2D, tensor1d, tensor2d } from "@tensorflow/tfjs-core";
import { SVD, SYMMETRIC_EIGEN } from "../ops/kernels.ts";
import { runKernel } from "../ops/op.ts";
import { expectOperand, expectSetting } from "../ops/operands.ts";
import { expectFinite } from "./finite.ts";
import { svdFloat64, symmetricEigenFloat64 } from "./float64.ts";

/** Singular triples of a matrix, largest first. */
export interface Svd {
  /** left singular vectors as columns, (m, k) */
  u: Tensor2D;
  /** singular values, largest first, (k) */
  s: Tensor1D;
  /** right singular vectors as columns, (n, k): matrix = u · diag(s) · vᵀ */
  v: Tensor2D;
}

/** Options of `svd`. */
export interface SvdOptions {
  /** k, the number of largest triples to compute, at least 1. Default all, min(m, n) */
  rank?: number;
}

/**
 * The singular value decomposition, computed in float64 and rounded once. If the ratio of the largest to the smallest
 * requested singular value is at most 1e4, it is computed from the eigenvectors of the smaller Gram matrix. This is
 * several times faster, and the relative error of the smallest singular value is about 1e-8. Otherwise the matrix is
 * decomposed directly. In a float32 decomposition, each singular value would have an error of 1e-7 of the largest one.
 *
 * @param matrix float32 (m, n)
 * @throws ShapeError when the matrix has another type or shape, contains values that are not finite, or the rank is out
 *   of range
 */
export async function svd(matrix: Tensor2D, { rank }: SvdOptions = {}): Promise<Svd> {
  expectOperand("svd", { matrix }, { dtype: "float32", shape: ["m", "n"] });
  const [m, n] = matrix.shape;
  const most = Math.min(m, n);
  const k = rank ?? most;
  const within = Number.isInteger(k) && k >= Math.min(1, most) && k <= most;
  expectSetting("svd", { rank: k }, `an integer from 1 to ${most}`, within);
  await expectFinite("svd", { matrix });
  if (k === 0) {
    return { u: tensor2d([], [m, 0]), s: tensor1d([]), v: tensor2d([], [n, 0]) };
  }
  if (getKernel(SVD, getBackend())) {
    const [u, s, v] = runKernel(SVD, { x: matrix }, { rank: k }) as [Tensor2D, Tensor1D, Tensor2D];
    return { u, s, v };
  }
  const values = Float64Array.from(await matrix.data());
  const { left, s, right } = svdFloat64({ values, rows: m, columns: n }, { rank: k, exact: false });
  return { u: columnsOf(left, k, m), s: tensor1d(Float32Array.from(s)), v: columnsOf(right, k, n) };
}

/** The rows of `values` (count, length) as the columns of a tensor (length, count). */
function columnsOf(values: Float64Array, count: number, length: number): Tensor2D {
  const turned = new Float32Array(values.length);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < length; j++) {
      turned[j * count + i] = values[i * length + j] as number;
    }
  }
  return tensor2d(turned, [length, count]);
}

/** Eigenvalues and eigenvectors of a symmetric matrix. */
export interface SymmetricEigen {
  /** (n), largest first */
  values: Tensor1D;
  /** eigenvectors as columns, (n, n), in the order of `values` */
  vectors: Tensor2D;
}

/**
 * The eigendecomposition of the symmetric part of `matrix`, (matrix + matrixᵀ) / 2, computed in float64.
 *
 * @param matrix float32 (n, n)
 * @throws ShapeError when the matrix is not square or contains values that are not finite
 */
export async function symmetricEigen(matrix: Tensor2D): Promise<SymmetricEigen> {
  const n = matrix.shape[0];
  expectOperand("symmetricEigen", { matrix }, { dtype: "float32", shape: ["n", n] });
  await expectFinite("symmetricEigen", { matrix });
  if (n > 0 && getKernel(SYMMETRIC_EIGEN, getBackend())) {
    const [values, vectors] = runKernel(SYMMETRIC_EIGEN, { x: matrix }) as [Tensor1D, Tensor2D];
    return { values, vectors };
  }
  const { values, vectors } = symmetricEigenFloat64(Float64Array.from(await matrix.data()), n);
  return { values: tensor1d(Float32Array.from(values)), vectors: columnsOf(vectors, n, n) };
}
