// The solution of linear systems with a lower triangular matrix, on any engine: by the backend's kernel if it has one
// (torch), and otherwise on the host. Both compute in float64 and round once. It has no gradient.

import { getBackend, getKernel, type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { TRIANGULAR_SOLVE } from "../ops/kernels.ts";
import { runKernel } from "../ops/op.ts";
import { expectOperand } from "../ops/operands.ts";

/** Options of `solveTriangular`. */
export interface TriangularOptions {
  /** whether the system is Lᵀ X = B. Default false, L X = B */
  transposed?: boolean;
}

/**
 * The solution X of L X = B, or of Lᵀ X = B.
 * @param lower L, float32 (n, n), without zeros on its diagonal; what is above the diagonal is ignored
 * @param right B, float32 (n, m)
 * @returns X, float32 (n, m)
 * @throws ShapeError when shapes do not fit
 */
export async function solveTriangular(
  lower: Tensor2D,
  right: Tensor2D,
  { transposed = false }: TriangularOptions = {},
): Promise<Tensor2D> {
  const n = lower.shape[0];
  expectOperand("solveTriangular", { lower }, { dtype: "float32", shape: ["n", n] });
  expectOperand("solveTriangular", { right }, { dtype: "float32", shape: [n, "m"] });
  if (getKernel(TRIANGULAR_SOLVE, getBackend())) {
    return runKernel(TRIANGULAR_SOLVE, { lower, right }, { transposed })[0] as Tensor2D;
  }
  const solution = Float64Array.from(await right.data());
  substitute(await lower.data(), solution, transposed);
  return tensor2d(Float32Array.from(solution), right.shape);
}

/** Solves in place: `x` (n, m) holds the right side, then the solution. */
function substitute(lower: ArrayLike<number>, x: Float64Array, transposed: boolean): void {
  const n = Math.round(Math.sqrt(lower.length));
  const m = n === 0 ? 0 : x.length / n;
  const entry = (i: number, k: number) => (transposed ? lower[k * n + i] : lower[i * n + k]) as number;
  for (let step = 0; step < n; step++) {
    const i = transposed ? n - 1 - step : step;
    const row = x.subarray(i * m, (i + 1) * m);
    for (let before = 0; before < step; before++) {
      const k = transposed ? n - 1 - before : before;
      const factor = entry(i, k);
      const solved = x.subarray(k * m, (k + 1) * m);
      for (let j = 0; j < m; j++) row[j] = (row[j] as number) - factor * (solved[j] as number);
    }
    const pivot = entry(i, i);
    for (let j = 0; j < m; j++) row[j] = (row[j] as number) / pivot;
  }
}
