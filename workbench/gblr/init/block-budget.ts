// Holds the widths of a block search to its budget: the count of parameters in whole samples, and the shift of all widths
// that brings it down. Widths are (2, K), row 0 the input side, shares of n. Plain numbers.

import { samples } from "../widths.ts";
import type { Sides } from "./rules.ts";

/**
 * Σ_k (a_k + b_k) over blocks that cover at least one entry, a and b the widths in samples: parameters that the search
 * uses. Unlike the cost of a matrix this counts blocks one sample wide, since they take part until the search ends.
 */
export function blockCount(widths: ArrayLike<number>, { nIn, nOut }: Sides): number {
  const blocks = widths.length / 2;
  let count = 0;
  for (let k = 0; k < blocks; k++) {
    const a = Math.min(nIn, samples(widths[k] as number, nIn));
    const b = Math.min(nOut, samples(widths[blocks + k] as number, nOut));
    count += a > 0 && b > 0 ? a + b : 0;
  }
  return count;
}

/** Parameters that a share of the full factored form allows: `share` · K · (n_in + n_out) with K = min(n_in, n_out). */
export function countAllowed(share: number, { nIn, nOut }: Sides): number {
  // a share such as 7/48 may fall short of its own whole number
  return Math.floor(share * Math.min(nIn, nOut) * (nIn + nOut) + 1e-6);
}

/** A bisection's last step is 2^-40 of the whole range: no rounded width can tell. */
const HALVINGS = 40;

/**
 * Clamps widths to [0, 1], then lowers them in place until their count is at most `budget`, by the least shift that does:
 * each side in proportion to what a share of it costs, which is the nearest point of the budget's half-space.
 */
export function holdCount(widths: Float64Array, budget: number, sides: Sides): void {
  for (let i = 0; i < widths.length; i++) {
    widths[i] = clamp(widths[i] as number);
  }
  if (blockCount(widths, sides) <= budget) {
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
    if (blockCount(shift(middle), sides) <= budget) {
      high = middle;
    } else {
      low = middle;
    }
  }
  widths.set(shift(high));
}

const clamp = (width: number): number => Math.min(1, Math.max(0, width));
