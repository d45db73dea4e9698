// The rules of spans in a packed GBLR layer (docs/format.md): numbers in, the first rule that is broken out.

export interface BadSpan {
  rule: "start" | "length" | "full turn";
  side: "in" | "out";
  block: number;
  start: number;
  length: number;
  /** of the side, in samples */
  n: number;
}

/** How many values the spans of each side cover, or the first span that breaks a rule. */
export type CheckedSpans = { bad: BadSpan } | { bad: undefined; values: { in: number; out: number } };

/** @param spans (4, B) row by row: start_in, length_in, start_out, length_out, in samples */
export function checkSpans(spans: ArrayLike<number>, { nIn, nOut }: { nIn: number; nOut: number }): CheckedSpans {
  const blocks = spans.length / 4;
  const values = { in: 0, out: 0 };
  for (const [row, side, n] of [
    [0, "in", nIn],
    [2, "out", nOut],
  ] as const) {
    for (let block = 0; block < blocks; block++) {
      const start = spans[row * blocks + block] as number;
      const length = spans[(row + 1) * blocks + block] as number;
      const rule = brokenRule(start, length, n);
      if (rule) return { bad: { rule, side, block, start, length, n } };
      values[side] += length;
    }
  }
  return { bad: undefined, values };
}

function brokenRule(start: number, length: number, n: number): BadSpan["rule"] | undefined {
  if (!(length >= 2 && length <= n)) return "length";
  if (!(start >= 0 && start < n)) return "start";
  return length === n && start !== 0 ? "full turn" : undefined;
}
