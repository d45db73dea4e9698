// The diagonal of a matrix, which TensorFlow.js has no operation for. It is gathered from the n entries, without another
// matrix of the same size. It has no shape check of its own: callers pass covariances and Gram matrices, which they have
// checked or computed.

import { gather, reshape, type Tensor1D, type Tensor2D, tensor1d, tidy } from "@tensorflow/tfjs-core";

/**
 * The diagonal of a square matrix. Differentiable.
 *
 * ```ts
 * diagonalOf(tf.tensor2d([[1, 2], [3, 4]])); // [1, 4]
 * ```
 * @param matrix A, float32 (n, n)
 * @returns (n), the entries A[i, i]
 */
export function diagonalOf(matrix: Tensor2D): Tensor1D {
  const n = matrix.shape[0];
  return tidy(() => {
    const places = tensor1d(
      Int32Array.from({ length: n }, (_, i) => i * (n + 1)),
      "int32",
    );
    return gather<Tensor1D>(reshape(matrix, [n * n]), places);
  });
}
