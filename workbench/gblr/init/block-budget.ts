// Keeps the widths of a block search within its budget: counts parameters in whole samples, and shifts all widths until
// the count is low enough. Widths are (2, K), row 0 the input side, as shares of n. This file uses no tensors.

import { samples } from "../widths.ts";
import type { Sides } from "./rules.ts";

/**
 * The number of parameters in use: Σ_k (a_k + b_k) over blocks that cover at least one entry, with a and b the widths
 * in samples. Unlike the cost of a matrix this includes blocks one sample wide, which take part until the search ends.
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

/**
 * The number of parameters in a share of the full factored form: `share` · K · (n_in + n_out) with K = min(n_in,
 * n_out).
 */
export function countAllowed(share: number, { nIn, nOut }: Sides): number {
  // The small term is needed because rounding can make the product for a share such as 7/48 slightly less than an
  // integer.
  return Math.floor(share * Math.min(nIn, nOut) * (nIn + nOut) + 1e-6);
}

/** Bisection steps. The last one is 2^-40 of the range, which changes no rounded width. */
const HALVINGS = 40;

/**
 * Clamps widths to [0, 1], then lowers them in place by the smallest shift that makes their count at most `budget`.
 * Each side is shifted in proportion to the cost of its width, which projects the widths onto the budget's half-space.
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
