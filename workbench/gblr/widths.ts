// Rounds widths to whole samples, and computes which blocks are live and what they cost. All code in this package
// counts with these functions, so that plans, shrink rules, reports and packed layers agree exactly. Counting follows
// the reference implementation (arXiv 2310.18882, section 3). This file uses no tensors.

import { LEAST_ENTRY } from "../engine/ops/gblr/kernels.ts";
import { edgeFunctions } from "./edge-functions.ts";

/** Adding and subtracting this number rounds half to even for |x| < 2^51, because no bits remain for a fraction. */
const ROUNDER = 1.5 * 2 ** 52;

/**
 * A share of `length` in whole samples, rounded as in masks: the product in float32, then half to even as in PyTorch
 * and IEEE 754. (`Math.round` rounds halves up.)
 */
export const samples = (share: number, length: number): number =>
  Math.fround(Math.fround(share) * length) + ROUNDER - ROUNDER;

/** Whether a block of a by b samples is live: wider than one sample on both sides. */
export const isLive = (a: number, b: number): boolean => a > 1 && b > 1;

/** Multiply-adds per row of a block of rank r with a and b mask entries: min((a + b) r, a b). */
export const blockCost = (a: number, b: number, rank: number): number => Math.min((a + b) * rank, a * b);

/**
 * The evaluation mask of a window that starts at sample 0 of a circle of n samples: entries of at most 1e-3 in size are
 * 0.
 * @param width samples of the window
 */
function evaluationMask(width: number, n: number, sigma: number): Float64Array {
  const { edge } = edgeFunctions({ length: n, sigma });
  return edge.map((start, j) => {
    const value = width / n + start - (edge[(j + n - (width % n)) % n] as number);
    return Math.abs(value) <= LEAST_ENTRY ? 0 : value;
  });
}

/** Returns a function that caches the results of `compute`, because many blocks have the same width. */
function remembered<Result>(compute: (width: number) => Result): (width: number) => Result {
  const known = new Map<number, Result>();
  return (width) => {
    if (!known.has(width)) known.set(width, compute(width));
    return known.get(width) as Result;
  };
}

/**
 * Returns a function that maps a width in samples to its number of mask entries above 1e-3, on a circle of n samples.
 */
function supports(n: number, sigma = Number.POSITIVE_INFINITY): (width: number) => number {
  if (sigma === Number.POSITIVE_INFINITY) return (width) => Math.min(width, n);
  return remembered((width) => evaluationMask(width, n, sigma).filter((value) => value > 0).length);
}

/** A range of samples on a circle. */
export interface Span {
  /** in 0 … n - 1; 0 for the whole circle */
  start: number;
  /** samples, at least 2 */
  length: number;
}

/** The shortest span that contains all nonzero entries of a mask; undefined if there are none. */
export function spanOfMask(mask: ArrayLike<number>): Span | undefined {
  const n = mask.length;
  let first = 0;
  while (first < n && mask[first] === 0) first++;
  if (first === n) return undefined;
  // The span is the complement of the longest run of zeros. The run that wraps around comes last.
  let gap = { length: 0, end: 0 };
  let last = first;
  for (let i = first + 1; i <= n + first; i++) {
    if (mask[i % n] !== 0) {
      const zeros = i - last - 1;
      gap = zeros > gap.length ? { length: zeros, end: i % n } : gap;
      last = i;
    }
  }
  // At least two samples, because a block one sample wide would be dead. The second sample is a zero.
  return { start: gap.length === 0 ? 0 : gap.end, length: Math.min(Math.max(n - gap.length, 2), n) };
}

/**
 * Returns a function that maps a width and a location, both shares of n, to the span of the evaluation mask on this
 * side. The span is undefined if the block is dead.
 */
export function spansOf(n: number, sigma = Number.POSITIVE_INFINITY): (w: number, l: number) => Span | undefined {
  const smooth = sigma !== Number.POSITIVE_INFINITY;
  const atZero = remembered((width) =>
    smooth ? spanOfMask(evaluationMask(width, n, sigma)) : { start: 0, length: Math.min(width, n) },
  );
  return (w, l) => {
    const width = samples(w, n);
    const span = width > 1 ? atZero(width) : undefined;
    if (!span || span.length === n) return span && { start: 0, length: n };
    return { start: (((span.start + samples(l, n)) % n) + n) % n, length: span.length };
  };
}

/** The sizes of a layer and its blocks. */
export interface BlockShape {
  nIn: number;
  nOut: number;
  /** r, of each block; default 1 */
  rank?: number;
  /** of the masks; default Infinity */
  sigma?: number;
}

/** Which blocks of a layer are live, their cost and their mean width. */
export interface BlockUse {
  /** for each block, whether it is live */
  live: boolean[];
  /** multiply-adds per row: Σ over live blocks of min((a + b) r, a b), with a and b the mask entries above 1e-3 */
  cost: number;
  /** mean rounded width as a share, dead blocks counting as 0; of the input and output side */
  meanWidth: [number, number];
}

/**
 * Computes which blocks of one layer are live, their cost and their mean width.
 * @param widths (2, K) row by row, input side first, as shares
 */
export function blockUse(widths: ArrayLike<number>, { nIn, nOut, rank = 1, sigma }: BlockShape): BlockUse {
  const blocks = widths.length / 2;
  const [supportIn, supportOut] = [supports(nIn, sigma), supports(nOut, sigma)];
  const use: BlockUse = { live: [], cost: 0, meanWidth: [0, 0] };
  for (let k = 0; k < blocks; k++) {
    const a = samples(widths[k] as number, nIn);
    const b = samples(widths[blocks + k] as number, nOut);
    const live = isLive(a, b);
    use.live.push(live);
    if (live) {
      use.cost += blockCost(supportIn(a), supportOut(b), rank);
      use.meanWidth[0] += a / nIn / blocks;
      use.meanWidth[1] += b / nOut / blocks;
    }
  }
  return use;
}

/** The sizes on which the cost of a layer's blocks depends. */
export interface LayerSize {
  nIn: number;
  nOut: number;
  /** K */
  blocks: number;
  /** r, of each block; default 1 */
  rank?: number;
  /** how often the matrix is applied for one input, such as the positions of a convolution; default 1 */
  uses?: number;
}

/**
 * The sizes of the blocks of all layers, flat. Arrays of widths and locations contain layer after layer, each (2, K)
 * row by row. Blocks are counted over all layers; block k has the sides 2k (input) and 2k + 1 (output).
 */
export interface BlockSizes {
  layers: readonly LayerSize[];
  /** blocks over all layers */
  count: number;
  /** index of each side in arrays of widths and locations */
  place: Int32Array;
  /** n of each side */
  length: Float64Array;
  /** of each block */
  rank: Float64Array;
  /** of each block */
  uses: Float64Array;
}

/** Collects the sizes of the blocks of all layers. */
export function blockSizes(layers: readonly LayerSize[]): BlockSizes {
  const count = layers.reduce((sum, { blocks }) => sum + blocks, 0);
  const [place, length] = [new Int32Array(2 * count), new Float64Array(2 * count)];
  const [ranks, times] = [new Float64Array(count), new Float64Array(count)];
  let [k, start] = [0, 0];
  for (const { nIn, nOut, blocks, rank = 1, uses = 1 } of layers) {
    for (let own = 0; own < blocks; own++, k++) {
      [place[2 * k], place[2 * k + 1]] = [start + own, start + blocks + own];
      [length[2 * k], length[2 * k + 1]] = [nIn, nOut];
      [ranks[k], times[k]] = [rank, uses];
    }
    start += 2 * blocks;
  }
  return { layers, count, place, length, rank: ranks, uses: times };
}

/** Splits a flat array into one view per layer, (2, K) row by row. */
export function byLayer(values: Float32Array, layers: readonly LayerSize[]): Float32Array[] {
  let start = 0;
  return layers.map(({ blocks }) => {
    const view = values.subarray(start, start + 2 * blocks);
    start += 2 * blocks;
    return view;
  });
}

/** Multiply-adds of block k with a and b samples, over all its uses; 0 unless it is live. */
export const costOfBlock = ({ rank, uses }: BlockSizes, k: number, a: number, b: number): number =>
  isLive(a, b) ? (uses[k] as number) * blockCost(a, b, rank[k] as number) : 0;

/** Multiply-adds of all blocks, counted from widths in whole samples, regardless of σ. */
export function costOf(sizes: BlockSizes, widths: ArrayLike<number>): number {
  const { count, place, length } = sizes;
  let cost = 0;
  for (let k = 0; k < count; k++) {
    const a = samples(widths[place[2 * k] as number] as number, length[2 * k] as number);
    const b = samples(widths[place[2 * k + 1] as number] as number, length[2 * k + 1] as number);
    cost += costOfBlock(sizes, k, a, b);
  }
  return cost;
}

/** Multiply-adds of the dense matrices of the layers. */
export const denseCost = (layers: readonly LayerSize[]): number =>
  layers.reduce((cost, { nIn, nOut, uses = 1 }) => cost + nIn * nOut * uses, 0);

/**
 * μ, the mean width: the mean over layers of the mean over (2, K), where widths of blocks with a b <= 0 count as 0, as
 * in the reference. Every layer has the same weight, regardless of its K.
 */
export function meanWidth(sizes: BlockSizes, widths: Float32Array): number {
  const { layers } = sizes;
  const means = byLayer(widths, layers).map((own) => {
    const blocks = own.length / 2;
    let total = 0;
    for (let k = 0; k < blocks; k++) {
      const [a, b] = [own[k] as number, own[blocks + k] as number];
      if (a * b > 0) total += a + b;
    }
    return total / own.length;
  });
  return means.reduce((sum, mean) => sum + mean, 0) / layers.length;
}
