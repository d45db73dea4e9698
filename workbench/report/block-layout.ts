// How many blocks of a GBLR matrix cover each entry. Spans in, counts out: no files, no tensors. How the spans come out of a
// file is in structures/gblr-layout.ts.

import type { BlockLayout } from "../structures/structure.ts";

/** How many blocks cover each entry, (n_out, n_in) row by row. For matrices that fit into memory. */
export function overlapCounts(layout: BlockLayout): Int32Array {
  const counts = new Int32Array(layout.nOut * layout.nIn);
  let at = 0;
  for (const row of overlapRows(layout)) {
    counts.set(row, at);
    at += layout.nIn;
  }
  return counts;
}

/**
 * How many blocks cover each entry of a row, for one row of the matrix after the other, in O(B + n_in) of memory: a file
 * of some kilobytes can describe a matrix of gigabytes. The array is the same each time.
 */
export function* overlapRows({ nIn, nOut, ...spans }: BlockLayout): Generator<Int32Array> {
  // Every block adds 1 where it begins and takes it back where it ends, in its rows; running sums spread that out.
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

/** Where blocks begin and end, from the first row down. */
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

/** A cyclic span as one or two straight ones, [from, to). */
function straight(start: number, length: number, n: number): [number, number][] {
  const end = start + length;
  return end <= n
    ? [[start, end]]
    : [
        [start, n],
        [0, end - n],
      ];
}
