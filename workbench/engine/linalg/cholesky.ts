// The Cholesky decomposition of a symmetric positive definite matrix, and the solution of linear systems with it, on any
// engine. They use the backend's kernel if it has one (torch), and otherwise compute on the host. Both compute in
// float64 and round once. Neither has a gradient.

import { getBackend, getKernel, type Tensor, type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { CholeskyDecomposition, Matrix } from "ml-matrix";
import { CHOLESKY, CHOLESKY_SOLVE } from "../ops/kernels.ts";
import { runKernel } from "../ops/op.ts";
import { expectOperand, expectSetting } from "../ops/operands.ts";

/** Options of `cholesky` and `solvePositive`. */
export interface DampingOptions {
  /** number that is added to all entries of the diagonal, from 0. Default 0 */
  damping?: number;
}

/**
 * The lower triangular matrix L with L Lᵀ = (A + Aᵀ) / 2 + damping · I.
 * @param matrix A, float32 (n, n)
 * @returns L, float32 (n, n); undefined if the sum is not positive definite
 * @throws ShapeError when the matrix is not square, or the damping is negative
 */
export async function cholesky(matrix: Tensor2D, { damping = 0 }: DampingOptions = {}): Promise<Tensor2D | undefined> {
  const n = expectSystem("cholesky", matrix, damping);
  if (getKernel(CHOLESKY, getBackend())) {
    return foundOf(runKernel(CHOLESKY, { x: matrix }, { damping }) as [Tensor2D, Tensor]);
  }
  const factor = await hostFactor(matrix, damping);
  return factor && tensor2d(float32Of(factor.lowerTriangularMatrix), [n, n]);
}

/**
 * The solution X of ((A + Aᵀ) / 2 + damping · I) X = B.
 * @param matrix A, float32 (n, n)
 * @param right B, float32 (n, m)
 * @returns X, float32 (n, m); undefined if the sum is not positive definite
 * @throws ShapeError when shapes do not fit, or the damping is negative
 */
export async function solvePositive(
  matrix: Tensor2D,
  right: Tensor2D,
  { damping = 0 }: DampingOptions = {},
): Promise<Tensor2D | undefined> {
  const n = expectSystem("solvePositive", matrix, damping);
  expectOperand("solvePositive", { right }, { dtype: "float32", shape: [n, "m"] });
  if (getKernel(CHOLESKY_SOLVE, getBackend())) {
    return foundOf(runKernel(CHOLESKY_SOLVE, { x: matrix, right }, { damping }) as [Tensor2D, Tensor]);
  }
  const factor = await hostFactor(matrix, damping);
  if (!factor) return undefined;
  const [, columns] = right.shape;
  const values = await right.data();
  const solution = factor.solve(hostMatrix(values, [n, columns]));
  return tensor2d(float32Of(solution), [n, columns]);
}

function expectSystem(op: string, matrix: Tensor2D, damping: number): number {
  const n = matrix.shape[0];
  expectOperand(op, { matrix }, { dtype: "float32", shape: ["n", n] });
  expectSetting(op, { damping }, "a number from 0", damping >= 0 && Number.isFinite(damping));
  return n;
}

/** The result of a kernel; undefined, and disposed of, if the matrix was not positive definite. */
async function foundOf([found, failed]: [Tensor2D, Tensor]): Promise<Tensor2D | undefined> {
  const [code = 0] = await failed.data();
  failed.dispose();
  if (code === 0) return found;
  found.dispose();
  return undefined;
}

async function hostFactor(matrix: Tensor2D, damping: number): Promise<CholeskyDecomposition | undefined> {
  const whole = hostMatrix(await matrix.data(), matrix.shape);
  const symmetric = whole.clone().add(whole.transpose()).mul(0.5);
  for (let i = 0; i < symmetric.rows; i++) symmetric.set(i, i, symmetric.get(i, i) + damping);
  const factor = new CholeskyDecomposition(symmetric);
  return factor.isPositiveDefinite() ? factor : undefined;
}

function hostMatrix(values: ArrayLike<number>, [rows, columns]: [number, number]): Matrix {
  const matrix = new Matrix(rows, columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) matrix.set(i, j, values[i * columns + j] as number);
  }
  return matrix;
}

const float32Of = (matrix: Matrix): Float32Array => Float32Array.from(matrix.to1DArray());
