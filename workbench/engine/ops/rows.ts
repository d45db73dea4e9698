// Tensors seen as rows: what ops over the last axis do to the axes before it.

import { getBackend, matMul, ones, reshape, sum, type Tensor, tidy } from "@tensorflow/tfjs-core";

/** x (..., width) → (rows, width) */
export function asRows(x: Tensor): Tensor {
  const width = x.shape[x.rank - 1] as number;
  return x.rank === 2 ? x : reshape(x, [rowCount(x), width]);
}

/** How many rows x (..., width) has; also where width is 0. */
export function rowCount(x: Tensor): number {
  return x.shape.slice(0, -1).reduce((product, size) => product * size, 1);
}

/** x (rows, width) → the sum over rows (width). */
export function sumRows(x: Tensor): Tensor {
  if (getBackend() === "torch") {
    return sum(x, 0);
  }
  const [rows, width] = x.shape as [number, number];
  // Elsewhere a sum over the first axis transposes first, and takes ten times as long as this product.
  return tidy(() => reshape(matMul(ones([1, rows]), x), [width]));
}
