// The decompositions by kernel name, with their operands: the contract between linalg's functions and a backend that
// has decompositions of its own. Only torch does; for every other the functions compute on the host.

import type { TensorInfo } from "@tensorflow/tfjs-core";

/** x float32 (m, n) → u (m, k), s (k) largest first, v (n, k) */
export const SVD = "Svd";
export type SvdInputs = { x: TensorInfo };
/** `rank`: k, from 1 to min(m, n) */
export type SvdAttributes = { rank: number };

/** x float32 (n, n) → values (n) largest first, vectors (n, n) as columns */
export const SYMMETRIC_EIGEN = "SymmetricEigen";
export type SymmetricEigenInputs = { x: TensorInfo };

/**
 * Least ratio of the last singular value wanted to the first for which the squared matrix will do: a relative error of
 * 2e-16 / ratio² in that singular value, in float64, is then some 1e-8. Below it the matrix is decomposed itself.
 */
export const LEAST_GRAM_RATIO = 1e-4;
