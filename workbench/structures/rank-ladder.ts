// The choices that an allocation over layers has for one layer: ranks while they cost less than the dense matrix, then
// the matrix itself unless it may not stay dense. This file uses no tensors.

import type { MatrixSize } from "./budget.ts";

/** Multiply-adds per row of a matrix of this rank, which rise with the rank. */
export type RankCost = (rank: number, size: MatrixSize) => number;

/** The cost of a rank with two factors. */
export const factorsCost: RankCost = (rank, { nOut, nIn }) => rank * (nOut + nIn);

/** The sizes of a layer, and what its ranks cost. */
export interface LayerToAllocate extends MatrixSize {
  name: string;
  /** rows that go through the layer in one pass of the model, e.g. the positions of a convolution. Default 1 */
  rows?: number;
  /** Default: that of two factors */
  rankCost?: RankCost | undefined;
  /** whether the matrix may stay dense where a rank costs as much. Default true */
  mayStay?: boolean | undefined;
}

/** The rank of one layer, with its error and cost. */
export interface LayerRank {
  name: string;
  rank: number;
  /** whether the layer stays dense, because this rank would cost at least as much. The error is then 0 */
  dense: boolean;
  /** what the allocation minimizes: the relative error ‖W − W_r‖ / ‖W‖, or the predicted increase of the loss */
  error: number;
  /** multiply-adds in one pass of the model */
  cost: number;
}

/**
 * The choices for one layer, numbered as rungs from 1: rung r is rank r. The last rung is the dense matrix, or if that
 * may not stay, the largest rank that costs less.
 */
export class RankLadder {
  readonly top: number;
  private readonly layer: LayerToAllocate;
  /** multiply-adds in one pass of the model, by rung; rung 0 is not used */
  private readonly costs: Float64Array;
  /** by rung; that of the dense matrix is 0 */
  private readonly errors: ArrayLike<number>;
  private readonly mayStay: boolean;

  /** @param errors by rank, from 0 to min(n_out, n_in), in falling order */
  constructor(layer: LayerToAllocate, errors: ArrayLike<number>) {
    const { nOut, nIn, rows = 1, rankCost = factorsCost, mayStay = true } = layer;
    const most = Math.min(nOut, nIn);
    this.layer = layer;
    this.errors = errors;
    this.top = 1;
    while (this.top < most && rankCost(this.top, layer) < nOut * nIn) this.top++;
    this.mayStay = mayStay;
    if (!mayStay) this.top = Math.max(1, this.top - 1);
    this.costs = Float64Array.from({ length: this.top + 1 }, (_, rung) => rows * rankCost(rung, layer));
    if (mayStay) this.costs[this.top] = rows * nOut * nIn;
  }

  error(rung: number): number {
    return rung === this.top && this.mayStay ? 0 : (this.errors[rung] as number);
  }

  cost(rung: number): number {
    return this.costs[rung] as number;
  }

  result(rung: number): LayerRank {
    const dense = rung === this.top && this.mayStay;
    const { name, nOut, nIn } = this.layer;
    return { name, rank: dense ? Math.min(nOut, nIn) : rung, dense, error: this.error(rung), cost: this.cost(rung) };
  }
}
