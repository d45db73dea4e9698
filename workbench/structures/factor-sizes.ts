// What the sizes of factors mean for training. W = Σ_k l_k r_kᵀ moves by l_k times what r_k moves, so where terms are
// large, and cancel each other, a step that suits the entries of a matrix is much too large for them. The blocks of a
// search by outputs are such terms, unless they are stable (gblr/tiles/layout.ts).
//
// A step that moves all entries of a dense matrix by δ has the squared length δ² n_out n_in. One that moves the entries
// of every r_k by δ s_k moves W by δ² n_in Σ_k s_k² ‖l_k‖² on average, if the signs are independent. Both are equal for
// s_k = √(n_out / K) / ‖l_k‖, with K terms; likewise for l_k.

import { div, maximum, minimum, mul, norm, type Tensor, type Tensor2D, tidy } from "@tensorflow/tfjs-core";

/**
 * Largest ratio of the terms of a layer to their sum with which all its parameters can be trained, or rounded to half
 * precision.
 */
export const MOST_CANCELLATION = 10;

/** Smaller norms count as this one, which is far below those at which a step is made smaller. */
const LEAST_NORM = 1e-12;

/**
 * Step sizes of the vectors that are multiplied with others: min(1, √(n / K) / ‖v_k‖).
 * @param partners the K vectors of n entries that they are multiplied with
 * @param axis the axis of the entries
 * @returns as `partners`, with one entry along the axis
 */
export function stepSizesBeside(partners: Tensor, axis: number): Tensor {
  const entries = partners.shape[axis] as number;
  const count = partners.size / entries;
  return tidy(() => minimum(1, div(Math.sqrt(entries / count), maximum(norm(partners, 2, axis, true), LEAST_NORM))));
}

/**
 * How much larger the terms of W = Σ_k l_k r_kᵀ are than their sum: √(Σ_k ‖l_k‖² ‖r_k‖²) / ‖W‖. It is 1 for terms that
 * are orthogonal to each other, such as those of an SVD, and for terms of 0.
 * @param factors (K, n_out) and (K, n_in)
 */
export async function cancellationOf(
  { output, input }: { output: Tensor2D; input: Tensor2D },
  matrix: Tensor2D,
): Promise<number> {
  const ratio = tidy(() => div(norm(mul(norm(input, 2, 1), norm(output, 2, 1))), norm(matrix)));
  const [value = 1] = await ratio.data();
  ratio.dispose();
  return Number.isNaN(value) ? 1 : value;
}
