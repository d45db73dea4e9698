// Summarizes one linear layer by numbers: its blocks, their overlap, and its cost. They are computed from block layouts
// and tensor shapes.

import { paddingOf } from "../gblr/panels.ts";
import type { Span } from "../gblr/widths.ts";
import type { BlockLayout } from "../structures/structure.ts";
import { overlapRows } from "./block-layout.ts";

/** Number of bins in a histogram of widths. They divide (0, 1] equally. */
const WIDTH_BINS = 8;

/** Numbers that summarize the blocks of a GBLR layer. */
export interface BlockSummary {
  /** number of live blocks */
  live: number;
  /** K, number of all blocks, dead ones included */
  all: number;
  /** histogram of the live blocks' widths as a share of n: (0, 1/8], (1/8, 2/8], … (7/8, 1] */
  widthsIn: number[];
  /** the same for the output side */
  widthsOut: number[];
  /** mean number of blocks over an entry: Σ r · w_in · w_out over the live blocks */
  cover: number;
  /** largest number of blocks over one entry */
  mostCover: number;
  /** share of the entries that no block covers, which are 0 */
  uncovered: number;
  /** zeros that the product by panels multiplies beside the blocks, relative to their values, see gblr/panels.ts */
  padding: number;
}

/** The cost of a layer. */
export interface LayerCost {
  /** multiply-adds per row of input, counted as the reference implementation does */
  cost: number;
  /** cost / (n_in · n_out) */
  share: number;
  /** rank of the low-rank matrix of equal cost: cost / (n_in + n_out) */
  equalCostRank: number;
}

/** The size of a layer. */
export interface Size {
  nIn: number;
  nOut: number;
}

/** Relates a cost in multiply-adds to the size of the layer. */
export function costOf(cost: number, { nIn, nOut }: Size): LayerCost {
  return { cost, share: cost / (nIn * nOut), equalCostRank: cost / (nIn + nOut) };
}

/**
 * Summarizes the blocks of a layer.
 * @param options.all K, the number of blocks, dead ones included
 * @param options.rank r, the rank of each block. Default 1
 */
export function summarizeBlocks(layout: BlockLayout, { all, rank = 1 }: { all: number; rank?: number }): BlockSummary {
  const { nIn, nOut, startIn, lengthIn, startOut, lengthOut } = layout;
  // Panels hold a block of rank r as r blocks.
  const repeated = (starts: ArrayLike<number>, lengths: ArrayLike<number>): Span[] =>
    Array.from(starts, (start, b) => ({ start, length: lengths[b] as number })).flatMap((span) =>
      new Array<Span>(rank).fill(span),
    );
  const entries = nIn * nOut;
  let [area, most, uncovered] = [0, 0, 0];
  for (const counts of overlapRows(layout)) {
    for (let i = 0; i < nIn; i++) {
      const count = counts[i] as number;
      area += count;
      if (count > most) most = count;
      if (count === 0) uncovered++;
    }
  }
  return {
    live: lengthIn.length,
    all,
    widthsIn: widthHistogram(lengthIn, nIn),
    widthsOut: widthHistogram(lengthOut, nOut),
    cover: (rank * area) / entries,
    mostCover: rank * most,
    uncovered: uncovered / entries,
    padding: paddingOf({ input: repeated(startIn, lengthIn), output: repeated(startOut, lengthOut) }, layout) - 1,
  };
}

/**
 * Histogram of widths over `WIDTH_BINS` bins.
 * @param lengths widths in samples, from 1 to n
 */
export function widthHistogram(lengths: ArrayLike<number>, n: number): number[] {
  const bins = new Array<number>(WIDTH_BINS).fill(0);
  for (let b = 0; b < lengths.length; b++) {
    const bin = Math.ceil(((lengths[b] as number) * WIDTH_BINS) / n) - 1;
    bins[bin] = (bins[bin] as number) + 1;
  }
  return bins;
}

const BARS = "▁▂▃▄▅▆▇█";

/**
 * Writes a histogram as text, one character a bin. The height is relative to the highest bin; an empty bin is a dot.
 */
export function sparkline(counts: readonly number[]): string {
  const most = Math.max(...counts);
  return counts.map((count) => (count === 0 ? "·" : BARS[Math.ceil((count / most) * BARS.length) - 1])).join("");
}
