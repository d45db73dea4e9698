// Where the blocks of a GBLR matrix lie once it is evaluated, from what its file holds: the spans of the packed form, or
// the widths and locations of the one to train. Plain numbers, no tensors.

import { edgeFunctions } from "../gblr/kernels.ts";
import { samples } from "../gblr/rounding.ts";
import { type Span, support } from "../gblr/support.ts";
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
    const [across, down] = [lengthIn[b] as number, lengthOut[b] as number];
    cost += Math.min((across + down) * rank, across * down);
  }
  return cost;
}

/**
 * The live blocks of a matrix to train: widths and locations rounded to samples, dead blocks dropped. These are the spans
 * that its packed form has.
 */
export function layoutOfWidths({ widths, locations, nIn, nOut, sigma }: TrainablePlaces): BlockLayout {
  const blocks = widths.length / 2;
  const [spanIn, spanOut] = [spanOf(nIn, sigma), spanOf(nOut, sigma)];
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

/** The span of a mask by its width and location, undefined where evaluation drops it. */
function spanOf(n: number, sigma = Number.POSITIVE_INFINITY): (w: number, l: number) => Span | undefined {
  const reach = sigma === Number.POSITIVE_INFINITY ? boxcar(n) : smooth(n, sigma);
  return (w, l) => {
    const width = samples(w, n);
    const span = width > 1 ? reach(width) : undefined;
    if (!span || span.length === n) return span && { start: 0, length: n };
    return { start: (((span.start + samples(l, n)) % n) + n) % n, length: span.length };
  };
}

/** Spans at location 0 by their width in samples. */
type Reach = (width: number) => Span | undefined;

const boxcar =
  (n: number): Reach =>
  (width) => ({ start: 0, length: Math.min(width, n) });

/** As far as the entries of at least 1e-3 reach. */
function smooth(n: number, sigma: number): Reach {
  const [edge] = edgeFunctions({ length: n, sigma, terms: 1 }).edges as [Float64Array];
  const known = new Map<number, Span | undefined>();
  const mask = (width: number) =>
    edge.map((begin, j) => {
      const end = edge[(j + n - (width % n)) % n] as number;
      const value = width / n + begin - end;
      return Math.abs(value) < 1e-3 ? 0 : value;
    });
  return (width) => {
    if (!known.has(width)) known.set(width, support(mask(width)));
    return known.get(width);
  };
}
