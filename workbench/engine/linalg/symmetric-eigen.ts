// The eigendecomposition of a symmetric matrix on any engine. Not differentiable.

import { getBackend, getKernel, type Tensor1D, type Tensor2D, tensor1d } from "@tensorflow/tfjs-core";
import { runKernel } from "../ops/differentiable.ts";
import { expectOperand } from "../ops/operands.ts";
import { expectFinite } from "./finite.ts";
import { symmetricEigenFloat64 } from "./float64.ts";
import { SYMMETRIC_EIGEN } from "./kernels.ts";
import { columnsOf } from "./svd.ts";

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
