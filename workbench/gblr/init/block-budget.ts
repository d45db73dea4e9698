// Holding the widths of a matrix's blocks to a budget, on the host: the count of parameters in whole samples, and the two
// ways to bring widths down to it. Widths are (2, K), row 0 the input side, shares of n.

import { roundHalfEven } from "../rounding.ts";

/** Samples on either side of the matrix. */
export interface Sides {
  nIn: number;
  nOut: number;
}

/** Σ_k (a_k + b_k) over blocks that cover at least one entry, a and b the rounded widths in samples. */
export function blockCount(widths: ArrayLike<number>, sides: Sides): number {
  return countWith(widths, sides, 0);
}

function countWith(widths: ArrayLike<number>, { nIn, nOut }: Sides, slack: number): number {
  const blocks = widths.length / 2;
  let count = 0;
  for (let k = 0; k < blocks; k++) {
    const a = Math.min(nIn, roundHalfEven((widths[k] as number) * nIn + slack));
    const b = Math.min(nOut, roundHalfEven((widths[blocks + k] as number) * nOut + slack));
    count += a > 0 && b > 0 ? a + b : 0;
  }
  return count;
}

/** Parameters that a share of the full factored form allows: `share` · K · (n_in + n_out) with K = min(n_in, n_out). */
export function countAllowed(share: number, { nIn, nOut }: Sides): number {
  // a share such as 7/48 may fall short of its own whole number
  return Math.floor(share * Math.min(nIn, nOut) * (nIn + nOut) + 1e-6);
}

/**
 * Lowers all widths by one shift, until their mean is at most `mean`, in place; then clamps them to [0, 1]. What clamping
 * gives back is not taken off again, as in the reference, so the count may stay above.
 */
export function holdMean(widths: Float64Array, mean: number): void {
  const excess = Math.max(0, widths.reduce((sum, value) => sum + value, 0) / widths.length - mean);
  for (let i = 0; i < widths.length; i++) {
    widths[i] = clamp((widths[i] as number) - excess);
  }
}

/** A bisection's last step is 2^-40 of the whole range: no rounded width can tell. */
const HALVINGS = 40;

/**
 * Samples by which a width may grow before it counts for more: bisection leaves widths just short of a half sample, and
 * float32 would push some of them over.
 */
const SLACK = 1e-3;

/**
 * Clamps widths to [0, 1], then lowers them in place until their count is at most `budget`, by the least shift that does:
 * each side in proportion to what a share of it costs, which is the nearest point of the budget's half-space.
 */
export function holdCount(widths: Float64Array, budget: number, sides: Sides): void {
  for (let i = 0; i < widths.length; i++) {
    widths[i] = clamp(widths[i] as number);
  }
  if (countWith(widths, sides, SLACK) <= budget) {
    return;
  }
  const { nIn, nOut } = sides;
  const trial = new Float64Array(widths.length);
  const shift = (by: number) => {
    for (let i = 0; i < widths.length; i++) {
      const side = i < widths.length / 2 ? nIn : nOut;
      trial[i] = clamp((widths[i] as number) - by * side);
    }
    return trial;
  };
  let [low, high] = [0, 1 / Math.min(nIn, nOut)];
  for (let i = 0; i < HALVINGS; i++) {
    const middle = 0.5 * (low + high);
    if (countWith(shift(middle), sides, SLACK) <= budget) {
      high = middle;
    } else {
      low = middle;
    }
  }
  widths.set(shift(high));
}

const clamp = (width: number): number => Math.min(1, Math.max(0, width));
