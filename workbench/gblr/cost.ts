// What a GBLR matrix costs, from its widths alone: which blocks are live and how many multiply-adds they take, counted
// as the reference implementation counts. Numbers in, numbers out; no tensors.

import { edgeFunctions } from "./kernels.ts";
import { samples } from "./rounding.ts";

export interface BlockShape {
  nIn: number;
  nOut: number;
  /** r, of each block; default 1 */
  rank?: number;
  /** of the masks; default Infinity */
  sigma?: number;
}

export interface BlockUse {
  /** one a block: wider than one sample on both sides, so that evaluation keeps it */
  live: boolean[];
  /** Σ over live blocks of min((a + b) r, a b), a and b the mask entries above 1e-3: multiply-adds a row */
  cost: number;
  /** mean over all blocks of the rounded width, as a share, where live; input and output side */
  meanWidth: [number, number];
}

/**
 * @param widths (2, K) row by row, input side first, as shares
 */
export function blockUse(widths: ArrayLike<number>, { nIn, nOut, rank = 1, sigma }: BlockShape): BlockUse {
  const blocks = widths.length / 2;
  const [supportIn, supportOut] = [supports(nIn, sigma), supports(nOut, sigma)];
  const use: BlockUse = { live: [], cost: 0, meanWidth: [0, 0] };
  for (let k = 0; k < blocks; k++) {
    const a = samples(widths[k] as number, nIn);
    const b = samples(widths[blocks + k] as number, nOut);
    const live = a > 1 && b > 1;
    use.live.push(live);
    if (live) {
      const [columns, rows] = [supportIn(a), supportOut(b)];
      use.cost += Math.min((columns + rows) * rank, columns * rows);
      use.meanWidth[0] += a / nIn / blocks;
      use.meanWidth[1] += b / nOut / blocks;
    }
  }
  return use;
}

/** How many entries of a mask of so many samples are above 1e-3, on a circle of n. */
function supports(n: number, sigma = Number.POSITIVE_INFINITY): (width: number) => number {
  if (sigma === Number.POSITIVE_INFINITY) {
    return (width) => Math.min(width, n);
  }
  const [edge] = edgeFunctions({ length: n, sigma, terms: 1 }).edges as [Float64Array];
  const known = new Map<number, number>();
  return (width) => {
    const support = known.get(width) ?? count(edge, width);
    known.set(width, support);
    return support;
  };
}

// Wherever the window lies: begin it at sample 0.
function count(edge: Float64Array, width: number): number {
  const n = edge.length;
  return edge.filter((start, j) => {
    const end = edge[(j + n - (width % n)) % n] as number;
    return width / n + start - end > 1e-3;
  }).length;
}
