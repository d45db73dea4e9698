// The Cholesky decomposition of a symmetric positive definite matrix, and the solution of linear systems with it, on any
// engine. They use the backend's kernel if it has one (torch), and otherwise compute on the host. Both compute in
// float64 and round once. They have no gradient.

import { getBackend, getKernel, type Tensor, type Tensor2D, tensor, tensor2d } from "@tensorflow/tfjs-core";
import { CholeskyDecomposition, Matrix } from "ml-matrix";
import { CHOLESKY, CHOLESKY_SOLVE } from "../ops/kernels.ts";
import { runKernel } from "../ops/op.ts";
import { expectOperand, expectSetting } from "../ops/operands.ts";
import { isAllFinite } from "./finite.ts";

/** Options of `cholesky` and `solvePositive`. */
export interface DampingOptions {
  /** number that is added to all entries of the diagonal, from 0. Default 0 */
  damping?: number;
}

/**
 * The lower triangular matrix L with L Lᵀ = (A + Aᵀ) / 2 + damping · I.
 * @param matrix A, float32 (n, n)
 * @returns L, float32 (n, n); undefined if the sum is not positive definite, or not finite
 * @throws ShapeError when the matrix is not square, or the damping is negative
 */
export async function cholesky(matrix: Tensor2D, { damping = 0 }: DampingOptions = {}): Promise<Tensor2D | undefined> {
  const n = expectSystem("cholesky", matrix, damping);
  if (!(await isAllFinite(matrix))) return undefined;
  if (getKernel(CHOLESKY, getBackend())) {
    return foundOf(runKernel(CHOLESKY, { x: matrix }, { damping }) as [Tensor2D, Tensor]);
  }
  const factor = hostFactor(await matrix.data(), n, damping);
  return factor && tensor2d(factor.lowerTriangularMatrix.to1DArray(), [n, n]);
}

/**
 * The solution X of ((A + Aᵀ) / 2 + damping · I) X = B for each matrix of a stack.
 * @param matrix A, float32 (…, n, n)
 * @param right B, float32 (…, n, m), with the same leading axes
 * @returns X, float32 (…, n, m); undefined if one of the sums is not positive definite, or not finite
 * @throws ShapeError when shapes do not fit, or the damping is negative
 */
export async function solvePositive<T extends Tensor>(
  matrix: Tensor,
  right: T,
  { damping = 0 }: DampingOptions = {},
): Promise<T | undefined> {
  const n = expectSystem("solvePositive", matrix, damping);
  expectOperand("solvePositive", { right }, { dtype: "float32", shape: [...matrix.shape.slice(0, -1), "m"] });
  if (!(await isAllFinite(matrix))) return undefined;
  if (getKernel(CHOLESKY_SOLVE, getBackend())) {
    return foundOf(runKernel(CHOLESKY_SOLVE, { x: matrix, right }, { damping }) as [T, Tensor]);
  }
  const columns = right.shape.at(-1) as number;
  const [matrices, rights] = [await matrix.data(), await right.data()];
  const solutions = new Float32Array(rights.length);
  for (let at = 0; at * n * columns < solutions.length; at++) {
    const factor = hostFactor(matrices.slice(at * n * n, (at + 1) * n * n), n, damping);
    if (!factor) return undefined;
    const own = rights.slice(at * n * columns, (at + 1) * n * columns);
    solutions.set(factor.solve(Matrix.from1DArray(n, columns, own)).to1DArray(), at * n * columns);
  }
  return tensor(solutions, right.shape) as T;
}

function expectSystem(op: string, matrix: Tensor, damping: number): number {
  const n = matrix.shape.at(-1) as number;
  expectOperand(op, { matrix }, { dtype: "float32", shape: ["...", n, n] });
  expectSetting(op, { damping }, "a number from 0", damping >= 0 && Number.isFinite(damping));
  return n;
}

/** The result of a kernel; undefined, and disposed of, if a matrix was not positive definite. */
async function foundOf<T extends Tensor>([found, failed]: [T, Tensor]): Promise<T | undefined> {
  const codes = await failed.data();
  failed.dispose();
  if (codes.every((code) => code === 0)) return found;
  found.dispose();
  return undefined;
}

function hostFactor(values: ArrayLike<number>, n: number, damping: number): CholeskyDecomposition | undefined {
  const whole = Matrix.from1DArray(n, n, values);
  const symmetric = whole.clone().add(whole.transpose()).mul(0.5);
  for (let i = 0; i < n; i++) symmetric.set(i, i, symmetric.get(i, i) + damping);
  const factor = new CholeskyDecomposition(symmetric);
  return factor.isPositiveDefinite() ? factor : undefined;
}
