// Where the blocks of a GBLR matrix lie, and how many of them cover each entry. Spans in, counts out: no files, no
// tensors. How the spans come out of a trainable matrix is in trainable-layout.ts.

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

/** How many blocks cover each entry, (n_out, n_in) row by row. O(B + n_out · n_in). */
export function overlapCounts({ nIn, nOut, ...spans }: BlockLayout): Int32Array {
  // Every block adds 1 where it begins and takes it back where it ends; running sums both ways spread that out.
  const width = nIn + 1;
  const changes = new Int32Array((nOut + 1) * width);
  const add = (row: number, column: number, by: number) => {
    const at = row * width + column;
    changes[at] = (changes[at] as number) + by;
  };
  for (let b = 0; b < spans.startIn.length; b++) {
    for (const [top, bottom] of straight(spans.startOut[b] as number, spans.lengthOut[b] as number, nOut)) {
      for (const [left, right] of straight(spans.startIn[b] as number, spans.lengthIn[b] as number, nIn)) {
        add(top, left, 1);
        add(top, right, -1);
        add(bottom, left, -1);
        add(bottom, right, 1);
      }
    }
  }
  const counts = new Int32Array(nOut * nIn);
  for (let i = 0; i < nOut; i++) {
    let along = 0;
    for (let j = 0; j < nIn; j++) {
      along += changes[i * width + j] as number;
      counts[i * nIn + j] = along + (i > 0 ? (counts[(i - 1) * nIn + j] as number) : 0);
    }
  }
  return counts;
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
