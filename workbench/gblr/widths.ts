// Widths as numbers: how a share becomes whole samples, which blocks are live, and what they cost. Every count of blocks in
// this package goes through these functions, so that plans, shrink rules, reports and packed layers agree to the last
// multiply-add. Counting follows the reference implementation (arXiv 2310.18882, section 3). No tensors.

import { LEAST_ENTRY } from "../engine/ops/gblr/kernels.ts";
import { edgeFunctions } from "./edge-functions.ts";

/** Adding and subtracting it leaves no room for a fraction: rounds half to even for |x| < 2^51. */
const ROUNDER = 1.5 * 2 ** 52;

/**
 * Whole samples that a share of `length` covers, as masks round it: the product in float32, then half to even as PyTorch
 * and IEEE 754 round. (`Math.round` rounds halves up.)
 */
export const samples = (share: number, length: number): number =>
  Math.fround(Math.fround(share) * length) + ROUNDER - ROUNDER;

/** Whether evaluation keeps a block of a by b samples: wider than one sample on both sides. */
export const isLive = (a: number, b: number): boolean => a > 1 && b > 1;

/** Multiply-adds a row of a block of rank r with a and b mask entries: min((a + b) r, a b). */
export const blockCost = (a: number, b: number, rank: number): number => Math.min((a + b) * rank, a * b);

/**
 * The mask of a window of so many samples from sample 0 on, on a circle of n, as evaluation has it: entries of at most
 * 1e-3 in size are 0.
 */
function evaluationMask(width: number, n: number, sigma: number): Float64Array {
  const { edge } = edgeFunctions({ length: n, sigma });
  return edge.map((start, j) => {
    const value = width / n + start - (edge[(j + n - (width % n)) % n] as number);
    return Math.abs(value) <= LEAST_ENTRY ? 0 : value;
  });
}

/** The same function with its results kept, since many blocks have the same width. */
function remembered<Result>(compute: (width: number) => Result): (width: number) => Result {
  const known = new Map<number, Result>();
  return (width) => {
    if (!known.has(width)) known.set(width, compute(width));
    return known.get(width) as Result;
  };
}

/** How many entries of a mask are above 1e-3, by its width in samples on a circle of n. */
function supports(n: number, sigma = Number.POSITIVE_INFINITY): (width: number) => number {
  if (sigma === Number.POSITIVE_INFINITY) return (width) => Math.min(width, n);
  return remembered((width) => evaluationMask(width, n, sigma).filter((value) => value > 0).length);
}

/** A stretch of a circle. */
export interface Span {
  /** in 0 … n - 1; 0 for a whole turn */
  start: number;
  /** samples, at least 2 */
  length: number;
}

/** The shortest stretch that holds all entries of a mask that are not 0; undefined when it is 0 all over. */
export function spanOfMask(mask: ArrayLike<number>): Span | undefined {
  const n = mask.length;
  let first = 0;
  while (first < n && mask[first] === 0) first++;
  if (first === n) return undefined;
  // The longest run of zeros is what the span leaves out; the run over the seam comes last.
  let gap = { length: 0, end: 0 };
  let last = first;
  for (let i = first + 1; i <= n + first; i++) {
    if (mask[i % n] !== 0) {
      const zeros = i - last - 1;
      gap = zeros > gap.length ? { length: zeros, end: i % n } : gap;
      last = i;
    }
  }
  // A block one sample wide would be dropped when it is evaluated again: it keeps a zero beside it.
  return { start: gap.length === 0 ? 0 : gap.end, length: Math.min(Math.max(n - gap.length, 2), n) };
}

/** The span of a block's mask in evaluation by its width and location, both shares of n; undefined where it is dropped. */
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

export interface BlockShape {
  nIn: number;
  nOut: number;
  /** r, of each block; default 1 */
  rank?: number;
  /** of the masks; default Infinity */
  sigma?: number;
}

export interface BlockUse {
  /** one a block: whether evaluation keeps it */
  live: boolean[];
  /** Σ over live blocks of min((a + b) r, a b), a and b the mask entries above 1e-3: multiply-adds a row */
  cost: number;
  /** mean over all blocks of the rounded width, as a share, where live; input and output side */
  meanWidth: [number, number];
}

/**
 * Which blocks of one layer are live, what they cost, and how wide they are.
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

/** What a layer's blocks are counted by. */
export interface LayerSize {
  nIn: number;
  nOut: number;
  /** K */
  blocks: number;
  /** r, of each block; default 1 */
  rank?: number;
  /** times the matrix is applied for one input, such as the positions of a convolution; default 1 */
  uses?: number;
}

/**
 * The sizes of all blocks of all layers, flat. Arrays of widths and locations hold layer after layer, each (2, K) row by
 * row. Block k, counted over all layers, has two sides: 2k on the input, 2k + 1 on the output.
 */
export interface BlockSizes {
  layers: readonly LayerSize[];
  /** blocks over all layers */
  count: number;
  /** of each side: where it is in arrays of widths and locations */
  place: Int32Array;
  /** of each side: n */
  length: Float64Array;
  /** of each block */
  rank: Float64Array;
  /** of each block */
  uses: Float64Array;
}

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

/** A flat array cut into one view a layer, (2, K) row by row each. */
export function byLayer(values: Float32Array, layers: readonly LayerSize[]): Float32Array[] {
  let start = 0;
  return layers.map(({ blocks }) => {
    const view = values.subarray(start, start + 2 * blocks);
    start += 2 * blocks;
    return view;
  });
}

/** Multiply-adds of block k with a and b samples, each use counted; 0 unless it is live. */
export const costOfBlock = ({ rank, uses }: BlockSizes, k: number, a: number, b: number): number =>
  isLive(a, b) ? (uses[k] as number) * blockCost(a, b, rank[k] as number) : 0;

/** Multiply-adds of all blocks, whatever σ: those of the whole samples within their widths. */
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

/** Multiply-adds of the dense matrices in the layers' place. */
export const denseCost = (layers: readonly LayerSize[]): number =>
  layers.reduce((cost, { nIn, nOut, uses = 1 }) => cost + nIn * nOut * uses, 0);

/**
 * μ, the mean over layers of the mean over (2, K) of the widths whose block has two of one sign, neither of them 0: the
 * reference tests the product of a pair. Layers count alike, whatever their K.
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
