// How far masks and their derivatives reach beyond a window. Training crops blocks to their windows with these margins
// (engine/ops/gblr/live.ts).

import { type EdgeOptions, edgeFunctions, sawtooth } from "./edge-functions.ts";

/** Samples on each side of a window beyond which values are at most `LARGEST_TAIL`. */
interface Margins {
  /** of the mask */
  mask: number;
  /** of its derivatives by the samples of its ends; at least `mask` */
  slope: number;
}

/** Largest size of what is left out, of a mask and of its change by one sample more or less. */
const LARGEST_TAIL = 1e-6;

/**
 * The margins of all masks of this length and σ; `length` where there is no smaller one.
 *
 * A mask is the boxcar and the difference of R = S - S∞ at the two ends of the window, where S∞ is the edge function
 * without a Gaussian. Hence 2 max |R| bounds its tails. Its derivative by an end is h/n. With σ = ∞ the mask has no tails,
 * and those of h/n fall as the inverse of the distance. With a finite σ they fall like a Gaussian of n/(2π σ) samples, as
 * long as σ is well below n/2.
 */
export function marginsOf(options: EdgeOptions): Margins {
  const { length: n } = options;
  const { edge, slope } = edgeFunctions(options);
  const mask = reach(n, (j) => 2 * Math.abs((edge[j] as number) - sawtooth(n, j)));
  return {
    mask,
    slope: Math.max(
      mask,
      reach(n, (j) => Math.abs(slope[j] as number) / n),
    ),
  };
}

/** The distance from the end of a window, which is before sample 0, from which on no value is too large. */
function reach(n: number, size: (sample: number) => number): number {
  const half = Math.floor(n / 2);
  for (let distance = half; distance > 0; distance--) {
    if (size(distance - 1) > LARGEST_TAIL || size(n - distance) > LARGEST_TAIL) return distance === half ? n : distance;
  }
  return 0;
}
