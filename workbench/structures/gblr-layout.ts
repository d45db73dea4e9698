// The layout of the live blocks of a GBLR matrix, from the contents of its file: from spans for the packed form, from
// widths and locations for the trainable form. This file uses no tensors.

import { blockCost, type Span, spansOf } from "../gblr/widths.ts";
import type { MatrixSize } from "./budget.ts";
import type { BlockLayout } from "./structure.ts";

/** The widths and locations of a trainable layer. */
interface TrainablePlaces {
  /** (2, K) row by row, shares of n, input side first */
  widths: ArrayLike<number>;
  /** as `widths` */
  locations: ArrayLike<number>;
  nIn: number;
  nOut: number;
  /** smoothness of the masks. Default Infinity, no Gaussian */
  sigma?: number;
}

/**
 * The layout of a packed layer.
 * @param spans (4, B) row by row: start_in, length_in, start_out, length_out
 */
export function layoutOfSpans(spans: Int32Array, { nIn, nOut }: MatrixSize): BlockLayout {
  const live = spans.length / 4;
  const row = (i: number) => spans.subarray(i * live, (i + 1) * live);
  return { nIn, nOut, startIn: row(0), lengthIn: row(1), startOut: row(2), lengthOut: row(3) };
}

/** Multiply-adds per row, Σ min((a + b) r, a b) over blocks of a by b samples and rank r. */
export function layoutCost({ lengthIn, lengthOut }: BlockLayout, rank = 1): number {
  let cost = 0;
  for (let b = 0; b < lengthIn.length; b++) {
    cost += blockCost(lengthIn[b] as number, lengthOut[b] as number, rank);
  }
  return cost;
}

/**
 * The layout of a trainable layer: widths and locations rounded to samples, without dead blocks. These are the spans of
 * its packed form.
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
