// The longest run of ones on a circle, as the reference implementation finds it: widths and locations of its search are
// only met with its habits, which are kept and named here.

export interface Run {
  /** samples */
  width: number;
  /** first sample, on the circle */
  start: number;
}

/**
 * Of runs equally long the last one counts. A run that a zero ends is reported one sample too far on; one that reaches
 * the end is not. Where first and last sample are both one, the circle is read on into its first half, so that no run
 * found is longer than one and a half circles: those are cut to one.
 *
 * The reference fails where the longest run is a single one at the very end, and where a run wraps around a circle of
 * odd length; here both are runs like any other.
 *
 * @param mask ones and zeros, any length
 */
export function longestRun(mask: ArrayLike<number>): Run {
  const n = mask.length;
  const wraps = n > 0 && isOne(mask, 0) && isOne(mask, n - 1);
  const end = wraps ? n + Math.floor(n / 2) : n;
  let longest: Run = { width: 0, start: 0 };
  let length = 0;
  for (let i = 0; i < end; i++) {
    const one = isOne(mask, i % n);
    length += one ? 1 : 0;
    const last = i === end - 1;
    if (length > 0 && (!one || last) && length >= longest.width) {
      longest = { width: length, start: i - length + 1 };
    }
    if (!one) {
      length = 0;
    }
  }
  const width = Math.min(longest.width, n);
  return { width, start: n === 0 ? 0 : longest.start % n };
}

const isOne = (mask: ArrayLike<number>, i: number): boolean => (mask[i] as number) > 0;
