// The shortest stretch of a circle that holds all entries of a mask that are not 0. Plain numbers.

export interface Span {
  /** in 0 … n - 1; 0 for a whole turn */
  start: number;
  /** samples, at least 2 */
  length: number;
}

/** @returns undefined when the mask is 0 all over */
export function support(mask: ArrayLike<number>): Span | undefined {
  const n = mask.length;
  let first = 0;
  while (first < n && mask[first] === 0) {
    first++;
  }
  if (first === n) {
    return undefined;
  }
  // The longest run of zeros is what the span leaves out; the one over the seam comes last.
  let gap = { length: 0, end: 0 };
  let last = first;
  for (let i = first + 1; i <= n + first; i++) {
    if (mask[i % n] !== 0) {
      const zeros = i - last - 1;
      gap = zeros > gap.length ? { length: zeros, end: i % n } : gap;
      last = i;
    }
  }
  // A block one sample wide would be dropped when it is evaluated again: it keeps a zero beside it.
  return { start: gap.length === 0 ? 0 : gap.end, length: Math.min(Math.max(n - gap.length, 2), n) };
}
