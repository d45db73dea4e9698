// Where the values of a packed GBLR matrix go in the small dense matrices of which a graph makes its product. This file
// uses no tensors.

/** Samples from `start` to before `start + length`, cyclic. */
export interface Span {
  start: number;
  length: number;
}

/** The spans of a block. */
export interface BlockSpans {
  input: Span;
  output: Span;
}

/** Consecutive values of a block that are consecutive in a buffer of small matrices too. */
export interface Run {
  /** index of the first value in the buffer */
  to: number;
  length: number;
}

/** A part of a side, from `start` to before `end`. */
export interface Range {
  start: number;
  end: number;
}

/** Blocks that multiply the same inputs. */
export interface Group extends Range {
  /** indices of the blocks */
  blocks: readonly number[];
}

/** Outputs that are the sum over the same blocks. */
export interface Interval extends Range {
  /** positions of the blocks in the order in which groups list them */
  members: readonly number[];
}

/** A cyclic span as one or two ranges, in the order of its values. */
export function partsOf({ start, length }: Span, n: number): Range[] {
  const straight = Math.min(length, n - start);
  const wrapped = length - straight;
  return [{ start, end: start + straight }, ...(wrapped > 0 ? [{ start: 0, end: wrapped }] : [])];
}

/**
 * Where `values_in` go in a buffer with a matrix (blocks, inputs) for each group, one behind the other.
 * @param n n_in
 */
export function inputRuns(spans: readonly BlockSpans[], { groups }: { groups: readonly Group[] }, n: number): Run[] {
  const rows = new Map<number, { base: number; start: number }>();
  let base = 0;
  for (const { start, end, blocks } of groups) {
    for (const block of blocks) {
      rows.set(block, { base, start });
      base += end - start;
    }
  }
  return spans.flatMap(({ input }, block) => {
    const row = rows.get(block) as { base: number; start: number };
    return partsOf(input, n).map(({ start, end }) => ({ to: row.base + start - row.start, length: end - start }));
  });
}

/**
 * Where `values_out` go in a buffer with a matrix (members, outputs) for each interval, one behind the other.
 * @param n n_out
 */
export function outputRuns(
  spans: readonly BlockSpans[],
  { groups, intervals }: { groups: readonly Group[]; intervals: readonly Interval[] },
  n: number,
): Run[] {
  const order = groups.flatMap(({ blocks }) => blocks);
  const rows = new Map<number, (Range & { base: number })[]>(spans.map((_, block) => [block, []]));
  let base = 0;
  for (const { start, end, members } of intervals) {
    for (const position of members) {
      rows.get(order[position] as number)?.push({ start, end, base });
      base += end - start;
    }
  }
  return spans.flatMap(({ output }, block) =>
    partsOf(output, n).flatMap((part) =>
      (rows.get(block) as (Range & { base: number })[]).flatMap((row) => {
        const [start, end] = [Math.max(part.start, row.start), Math.min(part.end, row.end)];
        return end > start ? [{ to: row.base + start - row.start, length: end - start }] : [];
      }),
    ),
  );
}
