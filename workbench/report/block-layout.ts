// Counts how many blocks of a GBLR matrix cover each entry, given its block layout. It uses no tensors.
// structures/gblr-layout.ts reads the layout of a stored layer.

import type { BlockLayout } from "../structures/structure.ts";

/**
 * Yields the number of blocks over each entry, one row of the matrix at a time, int32 (n_in). It needs O(B + n_in)
 * memory, because a file of some kilobytes can describe a matrix of gigabytes. The yielded array is reused for the next
 * row.
 */
export function* overlapRows({ nIn, nOut, ...spans }: BlockLayout): Generator<Int32Array> {
  // A block adds 1 at its first column and subtracts 1 after its last one, in all of its rows. Running sums give the
  // counts.
  const events = spanEvents({ nIn, nOut, ...spans });
  const changes = new Int32Array(nIn + 1);
  const counts = new Int32Array(nIn);
  let next = 0;
  for (let row = 0; row < nOut; row++) {
    const first = next;
    for (let event = events[next]; event?.row === row; event = events[++next]) {
      changes[event.left] = (changes[event.left] as number) + event.by;
      changes[event.right] = (changes[event.right] as number) - event.by;
    }
    if (next > first) {
      let along = 0;
      for (let j = 0; j < nIn; j++) {
        along += changes[j] as number;
        counts[j] = along;
      }
    }
    yield counts;
  }
}

interface SpanEvent {
  row: number;
  /** columns [left, right) */
  left: number;
  right: number;
  by: 1 | -1;
}

/** The rows at which blocks begin and end, in order. */
function spanEvents({ nIn, nOut, startIn, lengthIn, startOut, lengthOut }: BlockLayout): SpanEvent[] {
  const events: SpanEvent[] = [];
  for (let b = 0; b < startIn.length; b++) {
    for (const [top, bottom] of straight(startOut[b] as number, lengthOut[b] as number, nOut)) {
      for (const [left, right] of straight(startIn[b] as number, lengthIn[b] as number, nIn)) {
        events.push({ row: top, left, right, by: 1 }, { row: bottom, left, right, by: -1 });
      }
    }
  }
  return events.sort((a, b) => a.row - b.row);
}

/** Splits a cyclic span into one or two intervals [from, to). */
function straight(start: number, length: number, n: number): [number, number][] {
  const end = start + length;
  return end <= n
    ? [[start, end]]
    : [
        [start, n],
        [0, end - n],
      ];
}
