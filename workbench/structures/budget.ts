// Budgets of a matrix: the multiply-adds that a budget allows, the error for a budget that is too small, and affordable
// ranks. A budget is a share of the dense matrix's multiply-adds. This file uses no tensors.

import { EngineError, ShapeError } from "../engine/core/errors.ts";

/** Sizes of a matrix W (n_out, n_in). */
export interface MatrixSize {
  nOut: number;
  nIn: number;
}

/** What `expectPaid` compares with a budget. */
export interface Price extends MatrixSize {
  /** the structure's name */
  structure: string;
  /** the budget given to `fromDense` */
  budget: number;
  /** what is requested, e.g. `rank 40` */
  what: string;
  /** its multiply-adds per row */
  cost: number;
}

/**
 * Multiply-adds per row that the budget allows.
 * @throws ShapeError when the budget is not a positive number
 */
export function allowance(structure: string, budget: number, { nOut, nIn }: MatrixSize): number {
  if (!(budget > 0 && budget < Number.POSITIVE_INFINITY)) {
    throw new ShapeError(`${structure}: budget must be a share of the dense multiply-adds above 0, got ${budget}`);
  }
  // A budget computed as cost / dense must allow that cost, but the product of such a quotient can be an ulp too small.
  return Math.floor(budget * nOut * nIn * (1 + 1e-12));
}

/**
 * Checks that a cost is within a budget.
 * @throws EngineError such as `lowrank: rank 40 of (96, 48) takes 1.25 of the dense multiply-adds, the budget is 0.5`
 */
export function expectPaid({ structure, budget, what, cost, nOut, nIn }: Price): void {
  if (cost > allowance(structure, budget, { nOut, nIn })) {
    const share = Number((cost / (nOut * nIn)).toPrecision(6));
    throw new EngineError(
      `${structure}: ${what} of (${nOut}, ${nIn}) takes ${share} of the dense multiply-adds, the budget is ${budget}`,
      "raise the budget or request less",
    );
  }
}

/** The largest rank whose two factors cost at most `allowed`, at n_out + n_in multiply-adds per row and rank. */
export const affordableRank = (allowed: number, { nOut, nIn }: MatrixSize): number =>
  Math.min(Math.floor(allowed / (nOut + nIn)), nOut, nIn);

/** ‖W − W_r‖ / ‖W‖ in the Frobenius norm for each rank r, from 0 to the number of singular values. */
export function frobeniusErrors(singularValues: ArrayLike<number>): Float64Array {
  const count = singularValues.length;
  const errors = new Float64Array(count + 1);
  for (let rank = count - 1; rank >= 0; rank--) {
    errors[rank] = (errors[rank + 1] as number) + (singularValues[rank] as number) ** 2;
  }
  const total = errors[0] as number;
  return errors.map((left) => (total > 0 ? Math.sqrt(left / total) : 0));
}
