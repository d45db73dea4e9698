// The widths of all blocks of all layers in flat arrays, and what they cost when shifted. Made for counting thousands of
// blocks some thirty times a training step; blockUse in cost.ts is the plain count of one layer.

/** The widths of one layer as numbers, and what its blocks cost. */
export interface LayerWidths {
  /** (2, K) row by row, input side first, shares of n */
  widths: Float32Array;
  nIn: number;
  nOut: number;
  /** r, of each block; default 1 */
  rank?: number;
  /** times the matrix is applied for one input, such as the positions of a convolution; default 1 */
  uses?: number;
}

/** Of block k, the input side is entry 2k of the arrays of sides, the output side entry 2k + 1. */
export interface BlockWidths {
  count: number;
  /** sides: width in [0, 1], a float32 number */
  width: Float64Array;
  /** sides: the largest width allowed, float32 numbers as well */
  most: Float64Array;
  /** sides: n */
  length: Float64Array;
  /** blocks */
  rank: Float64Array;
  /** blocks */
  uses: Float64Array;
  /** blocks: what a sample costs, by which the block is shifted */
  weight: Float64Array;
}

// Adding and taking away 2^52 leaves no room for a fraction: rounds half to even, for 0 <= x < 2^51.
const ROUNDER = 2 ** 52;

/** Whole samples of a width, as masks round it: product in float32, then half to even. */
export const samplesOf = (width: number, length: number): number => Math.fround(width * length) + ROUNDER - ROUNDER;

/** Side `side` after a shift, which takes off or, below 0, adds; a float32 number in [0, most]. */
export function shifted({ width, weight, most }: BlockWidths, side: number, shift: number): number {
  const moved = Math.fround((width[side] as number) - shift * (weight[side >> 1] as number));
  return Math.min(Math.max(0, moved), most[side] as number);
}

/** Multiply-adds of block k with a and b samples: uses · min((a + b) r, a b), nothing unless both exceed 1. */
export function blockCost({ rank, uses }: BlockWidths, k: number, a: number, b: number): number {
  return a > 1 && b > 1 ? (uses[k] as number) * Math.min((a + b) * (rank[k] as number), a * b) : 0;
}

/** Multiply-adds of all blocks after a shift. */
export function costAfter(blocks: BlockWidths, shift: number): number {
  const { count, length } = blocks;
  let cost = 0;
  for (let k = 0; k < count; k++) {
    const a = samplesOf(shifted(blocks, 2 * k, shift), length[2 * k] as number);
    const b = samplesOf(shifted(blocks, 2 * k + 1, shift), length[2 * k + 1] as number);
    cost += blockCost(blocks, k, a, b);
  }
  return cost;
}

/** Multiply-adds of the dense matrices in the layers' place. */
export const denseCost = (layers: readonly Omit<LayerWidths, "widths">[]): number =>
  layers.reduce((cost, { nIn, nOut, uses = 1 }) => cost + nIn * nOut * uses, 0);

/** Clamps to [0, 1] and weighs; none may widen. */
export function blockWidths(layers: readonly LayerWidths[]): BlockWidths {
  const count = layers.reduce((sum, { widths }) => sum + widths.length / 2, 0);
  const sides = () => new Float64Array(2 * count);
  const each = () => new Float64Array(count);
  const blocks = {
    count,
    width: sides(),
    most: sides(),
    length: sides(),
    rank: each(),
    uses: each(),
    weight: each(),
  };
  let k = 0;
  for (const { widths, nIn, nOut, rank = 1, uses = 1 } of layers) {
    for (let own = 0; own < widths.length / 2; own++, k++) {
      blocks.width[2 * k] = clamp(widths[own] as number);
      blocks.width[2 * k + 1] = clamp(widths[widths.length / 2 + own] as number);
      [blocks.length[2 * k], blocks.length[2 * k + 1]] = [nIn, nOut];
      [blocks.rank[k], blocks.uses[k]] = [rank, uses];
      blocks.weight[k] = sampleCost(blocks, k);
    }
  }
  blocks.most.set(blocks.width);
  return blocks;
}

/** The same, but that live blocks may widen up to 1. */
export function freeToWiden(blocks: BlockWidths): BlockWidths {
  const most = blocks.width.slice();
  for (let k = 0; k < blocks.count; k++) {
    const [a, b] = [2 * k, 2 * k + 1].map((side) => samplesOf(most[side] as number, blocks.length[side] as number));
    if (blockCost(blocks, k, a as number, b as number) > 0) {
      most.fill(1, 2 * k, 2 * k + 2);
    }
  }
  return { ...blocks, most };
}

const clamp = (width: number): number => Math.min(Math.max(width, 0), 1);

// min(r, a b / (a + b)): the rank, unless the block is so small that multiplying it out is cheaper. A block that is
// not live weighs as the smallest that is.
function sampleCost({ width, length, rank }: BlockWidths, k: number): number {
  const [a, b] = [2 * k, 2 * k + 1].map((side) =>
    Math.max(2, samplesOf(width[side] as number, length[side] as number)),
  ) as [number, number];
  return Math.min(rank[k] as number, (a * b) / (a + b));
}

/** The widths of each layer again, (2, K) row by row. */
export function splitByLayer({ width }: BlockWidths, layers: readonly LayerWidths[]): Float32Array[] {
  let k = 0;
  return layers.map(({ widths }) => {
    const own = new Float32Array(widths.length);
    for (let at = 0; at < widths.length / 2; at++, k++) {
      own[at] = width[2 * k] as number;
      own[widths.length / 2 + at] = width[2 * k + 1] as number;
    }
    return own;
  });
}
