// The block layout of a GBLR matrix: which span of rows and columns each live block covers, from the spans of a packed
// matrix or from the widths and locations of a trainable one, and how many blocks cover each entry. Plain numbers, no
// tensors.

import { type Span, spansOf } from "../gblr/widths.ts";

/**
 * The live blocks of a matrix (n_out, n_in). On each side, block b covers `length` samples from `start` on, cyclically.
 */
export interface BlockLayout {
  nIn: number;
  nOut: number;
  /** this and the next three: (B), in samples */
  startIn: ArrayLike<number>;
  lengthIn: ArrayLike<number>;
  startOut: ArrayLike<number>;
  lengthOut: ArrayLike<number>;
}

/**
 * Layout of a packed matrix.
 * @param spans (4, B), row by row: start_in, length_in, start_out, length_out
 */
export function layoutOfSpans(spans: Int32Array, { nIn, nOut }: { nIn: number; nOut: number }): BlockLayout {
  const live = spans.length / 4;
  const row = (i: number) => spans.subarray(i * live, (i + 1) * live);
  return { nIn, nOut, startIn: row(0), lengthIn: row(1), startOut: row(2), lengthOut: row(3) };
}

/**
 * Yields the number of blocks over each entry, one row of the matrix at a time. Takes O(B + n_in) memory, because a
 * file of some kilobytes can describe a matrix of gigabytes. The same array is yielded every time.
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

interface TrainableStructure {
  /** (2, K) row by row, input side first; shares of n, as are the locations */
  widths: ArrayLike<number>;
  locations: ArrayLike<number>;
  nIn: number;
  nOut: number;
  /** σ of the Gaussian that smooths the masks. Default Infinity: boxcar masks */
  sigma?: number;
}

/**
 * Layout of a trainable matrix as it is evaluated: widths and locations rounded to samples, dead blocks dropped. Its
 * packed form has the same spans.
 */
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
