// Solves linear systems with symmetric positive definite matrices, on any engine: by the backend's kernel if it has one
// (torch), and otherwise on the host. Both use a Cholesky decomposition in float64. There is no gradient.

import { getBackend, getKernel, type Tensor, tensor } from "@tensorflow/tfjs-core";
import { ShapeError } from "../core/errors.ts";
import { SOLVE_POSITIVE } from "../ops/kernels.ts";
import { runKernel } from "../ops/op.ts";
import { expectOperand } from "../ops/operands.ts";

/**
 * The solution X of A X = B for each matrix of a stack.
 * @param a A, float32 (…, n, n), symmetric and positive definite; only the lower triangle is used
 * @param b B, float32 (…, n, k), with the same leading axes
 * @returns X, float32 (…, n, k)
 * @throws ShapeError when shapes do not fit; an error when a matrix is not positive definite
 */
export async function solvePositive(a: Tensor, b: Tensor): Promise<Tensor> {
  const n = a.shape.at(-1) as number;
  expectOperand("solvePositive", { a }, { dtype: "float32", shape: ["...", n, n] });
  expectOperand("solvePositive", { b }, { dtype: "float32", shape: [...a.shape.slice(0, -1), "k"] });
  if (getKernel(SOLVE_POSITIVE, getBackend())) {
    const [x] = runKernel(SOLVE_POSITIVE, { a, b }) as Tensor[];
    return x as Tensor;
  }
  const k = b.shape.at(-1) as number;
  const [matrices, rights] = [await a.data(), await b.data()];
  const solution = new Float32Array(rights.length);
  for (let at = 0; at * n * k < solution.length; at++) {
    const lower = choleskyOf(matrices.slice(at * n * n, (at + 1) * n * n), n);
    solution.set(solved(lower, rights.slice(at * n * k, (at + 1) * n * k), { n, k }), at * n * k);
  }
  return tensor(solution, b.shape);
}

/** L (n, n) with L Lᵀ = A. */
function choleskyOf(matrix: ArrayLike<number>, n: number): Float64Array {
  const lower = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let value = matrix[i * n + j] as number;
      for (let k = 0; k < j; k++) value -= (lower[i * n + k] as number) * (lower[j * n + k] as number);
      if (i === j && !(value > 0)) {
        throw new ShapeError(`solvePositive: the matrix is not positive definite, pivot ${i} is ${value}`);
      }
      lower[i * n + j] = i === j ? Math.sqrt(value) : value / (lower[j * n + j] as number);
    }
  }
  return lower;
}

/** The solution of L Lᵀ X = B, by forward and back substitution of whole rows. */
function solved(lower: Float64Array, right: ArrayLike<number>, { n, k }: { n: number; k: number }): Float64Array {
  const x = Float64Array.from(right);
  const subtract = (row: number, other: number, factor: number) => {
    for (let c = 0; c < k; c++) x[row * k + c] = (x[row * k + c] as number) - factor * (x[other * k + c] as number);
  };
  const divide = (row: number) => {
    for (let c = 0; c < k; c++) x[row * k + c] = (x[row * k + c] as number) / (lower[row * n + row] as number);
  };
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) subtract(i, j, lower[i * n + j] as number);
    divide(i);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let j = i + 1; j < n; j++) subtract(i, j, lower[j * n + i] as number);
    divide(i);
  }
  return x;
}
