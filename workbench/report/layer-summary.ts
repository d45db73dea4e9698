// What one linear layer is in numbers: its blocks, how they overlap, what it costs. Pure arithmetic on layouts and
// shapes; names and files are the caller's.

import { type BlockLayout, overlapRows } from "./block-layout.ts";

/** Equal bins of (0, 1] in a histogram of widths. */
export const WIDTH_BINS = 8;

export interface BlockSummary {
  /** that evaluation keeps */
  live: number;
  /** K, dead ones counted */
  all: number;
  /** live blocks by width as a share of n: (0, 1/8], (1/8, 2/8], … (7/8, 1] */
  widthsIn: number[];
  widthsOut: number[];
  /** mean number of blocks that cover an entry, Σ r · w_in · w_out over live blocks */
  cover: number;
  /** the most blocks that cover one entry */
  mostCover: number;
  /** share of entries that no block covers: they are 0 */
  uncovered: number;
}

export interface LayerCost {
  /** multiply-adds a row, as the reference implementation counts them */
  cost: number;
  /** of the dense layer's n_in · n_out */
  share: number;
  /** rank of the low-rank matrix that costs as much: cost / (n_in + n_out) */
  equalCostRank: number;
}

export interface Size {
  nIn: number;
  nOut: number;
}

export function costOf(cost: number, { nIn, nOut }: Size): LayerCost {
  return { cost, share: cost / (nIn * nOut), equalCostRank: cost / (nIn + nOut) };
}

/** @param all K; @param rank r, of each block */
export function summarizeBlocks(layout: BlockLayout, { all, rank = 1 }: { all: number; rank?: number }): BlockSummary {
  const { nIn, nOut, lengthIn, lengthOut } = layout;
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
  };
}

/** @param lengths in samples of n, each from 1 */
export function widthHistogram(lengths: ArrayLike<number>, n: number): number[] {
  const bins = new Array<number>(WIDTH_BINS).fill(0);
  for (let b = 0; b < lengths.length; b++) {
    const bin = Math.ceil(((lengths[b] as number) * WIDTH_BINS) / n) - 1;
    bins[bin] = (bins[bin] as number) + 1;
  }
  return bins;
}

/** Σ min((a + b) r, a b): a block that is cheaper dense is counted dense. */
export function blockCost({ lengthIn, lengthOut }: BlockLayout, rank = 1): number {
  let cost = 0;
  for (let b = 0; b < lengthIn.length; b++) {
    const [across, down] = [lengthIn[b] as number, lengthOut[b] as number];
    cost += Math.min((across + down) * rank, across * down);
  }
  return cost;
}

/**
 * Multiply-adds a row of a layer that is kept as factors, from their shapes alone. Monarch and block low rank: `first`
 * (n_in, r, J) and `second` (n_out, K, r), blocks filled up to one size. Others: one for each stored value, of Tucker-2's
 * `input` one for each input position under an output position.
 */
export function factoredCost(shapes: Readonly<Record<string, readonly number[]>>, stride = 1): number {
  const { first, second } = shapes;
  if (first && second) {
    const [nIn, rank, rows] = first as [number, number, number];
    const [nOut, columns] = second as [number, number, number];
    return rows * columns * rank * (Math.ceil(nOut / rows) + Math.ceil(nIn / columns));
  }
  return Object.entries(shapes).reduce((sum, [name, shape]) => {
    const size = shape.reduce((product, side) => product * side, 1);
    return sum + (shapes.core && name === "input" ? stride ** 2 * size : size);
  }, 0);
}

// A histogram as one line of text.

const BARS = "▁▂▃▄▅▆▇█";

/** One character a bin, the highest bin full; an empty bin is a dot. */
export function sparkline(counts: readonly number[]): string {
  const most = Math.max(...counts);
  return counts.map((count) => (count === 0 ? "·" : BARS[Math.ceil((count / most) * BARS.length) - 1])).join("");
}
