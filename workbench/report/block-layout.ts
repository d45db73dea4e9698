// Where the blocks of a GBLR matrix lie, and how many of them cover each entry. Spans in, counts out: no files, no
// tensors.

import { type Span, spansOf } from "../gblr/widths.ts";

/** The live blocks of a matrix (n_out, n_in): block b covers `length` samples from `start` on, cyclic, on both sides. */
export interface BlockLayout {
  nIn: number;
  nOut: number;
  /** (B), in samples */
  startIn: ArrayLike<number>;
  lengthIn: ArrayLike<number>;
  startOut: ArrayLike<number>;
  lengthOut: ArrayLike<number>;
}

/** @param spans (4, B) row by row: start_in, length_in, start_out, length_out */
export function layoutOfSpans(spans: Int32Array, { nIn, nOut }: { nIn: number; nOut: number }): BlockLayout {
  const live = spans.length / 4;
  const row = (i: number) => spans.subarray(i * live, (i + 1) * live);
  return { nIn, nOut, startIn: row(0), lengthIn: row(1), startOut: row(2), lengthOut: row(3) };
}

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

// Where the blocks of a trainable GBLR matrix lie once it is evaluated: widths and locations rounded to samples, dead
// blocks dropped. These are the spans that its packed form has. Plain numbers.

export interface TrainableStructure {
  /** (2, K) row by row, shares of n, input side first */
  widths: ArrayLike<number>;
  locations: ArrayLike<number>;
  nIn: number;
  nOut: number;
  /** of the masks; default Infinity: no Gaussian */
  sigma?: number;
}

export function layoutOfWidths({ widths, locations, nIn, nOut, sigma }: TrainableStructure): BlockLayout {
  const blocks = widths.length / 2;
  const [spanIn, spanOut] = [spansOf(nIn, sigma), spansOf(nOut, sigma)];
  const live: [Span, Span][] = [];
  for (let k = 0; k < blocks; k++) {
    const across = spanIn(widths[k] as number, locations[k] as number);
    const down = spanOut(widths[blocks + k] as number, locations[blocks + k] as number);
    if (across && down) live.push([across, down]);
  }
  return {
    nIn,
    nOut,
    startIn: live.map(([across]) => across.start),
    lengthIn: live.map(([across]) => across.length),
    startOut: live.map(([, down]) => down.start),
    lengthOut: live.map(([, down]) => down.length),
  };
}
