// The singular value decomposition and the eigendecomposition of a symmetric matrix on any engine: by the backend's
// kernel where it has one (torch), else on the host in float64. Neither has a gradient: initialization needs values
// only.

import {
  getBackend,
  getKernel,
  mul,
  sum,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tensor2d,
  tidy,
} from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";
import { SVD, SYMMETRIC_EIGEN } from "../ops/kernels.ts";
import { runKernel } from "../ops/op.ts";
import { expectOperand, expectSetting } from "../ops/operands.ts";
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
  /** k, how many of the largest triples are wanted, from 1. Default all, min(m, n) */
  rank?: number;
}

/**
 * Computed in float64 and rounded once. When the ratio of the largest to the smallest singular value wanted is below
 * 1e4, the eigenvectors of the smaller Gram matrix are used, which is several times faster and has a relative error of
 * about 1e-8 in the smallest; else the matrix is decomposed directly. A float32 decomposition would have an error of
 * 1e-7 of the largest singular value in each.
 *
 * @param matrix float32 (m, n)
 * @throws ShapeError when it is not that, when it holds values that are not finite, or when the rank is out of range
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
 * Of the symmetric part of `matrix`, (matrix + matrixᵀ) / 2, computed in float64.
 *
 * @param matrix float32 (n, n)
 * @throws ShapeError when it is not square or holds values that are not finite
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

/**
 * @param operands one operand by its name, e.g. `{ matrix }`
 * @throws ShapeError such as `svd: matrix must be finite, it holds Infinity or NaN`
 */
async function expectFinite(op: string, operands: Record<string, Tensor>): Promise<void> {
  for (const [name, tensor] of Object.entries(operands)) {
    if (tensor.size === 0) {
      continue;
    }
    // 0 · x is NaN where x is not finite, and a sum propagates it; the max of some engines does not.
    const probe = tidy(() => sum(mul(tensor, 0)));
    const [zero] = await probe.data();
    probe.dispose();
    if (zero !== 0) {
      throw new ShapeError(`${op}: ${name} must be finite, it holds Infinity or NaN`);
    }
  }
}
