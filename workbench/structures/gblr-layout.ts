// Where the blocks of a GBLR matrix lie once it is evaluated, from what its file holds: the spans of the packed form, or
// the widths and locations of the one to train. Plain numbers, no tensors.

import { blockCost, type Span, spansOf } from "../gblr/widths.ts";
import type { MatrixSize } from "./budget.ts";
import type { BlockLayout } from "./structure.ts";

interface TrainablePlaces {
  /** (2, K) row by row, shares of n, input side first */
  widths: ArrayLike<number>;
  locations: ArrayLike<number>;
  nIn: number;
  nOut: number;
  /** of the masks; default Infinity: no Gaussian */
  sigma?: number;
}

/** @param spans (4, B) row by row: start_in, length_in, start_out, length_out */
export function layoutOfSpans(spans: Int32Array, { nIn, nOut }: MatrixSize): BlockLayout {
  const live = spans.length / 4;
  const row = (i: number) => spans.subarray(i * live, (i + 1) * live);
  return { nIn, nOut, startIn: row(0), lengthIn: row(1), startOut: row(2), lengthOut: row(3) };
}

/** Multiply-adds a row, Σ min((a + b) r, a b): a block that is cheaper dense is counted dense. */
export function layoutCost({ lengthIn, lengthOut }: BlockLayout, rank = 1): number {
  let cost = 0;
  for (let b = 0; b < lengthIn.length; b++) {
    cost += blockCost(lengthIn[b] as number, lengthOut[b] as number, rank);
  }
  return cost;
}

/**
 * The live blocks of a matrix to train: widths and locations rounded to samples, dead blocks dropped. These are the spans
 * that its packed form has.
 */
export function layoutOfWidths({ widths, locations, nIn, nOut, sigma }: TrainablePlaces): BlockLayout {
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
