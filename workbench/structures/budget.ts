// What a budget allows: checks and the one error of a budget that is too small. A budget is a share of the dense
// matrix's multiply-adds. No tensors.

import { EngineError, ShapeError } from "../engine/core/errors.ts";

/** Sizes of a matrix W (n_out, n_in). */
export interface MatrixSize {
  nOut: number;
  nIn: number;
}

export interface Price extends MatrixSize {
  /** the structure's name */
  structure: string;
  /** as given to `fromDense` */
  budget: number;
  /** what is asked for, e.g. `rank 40` */
  what: string;
  /** multiply-adds a row that it takes */
  cost: number;
}

/**
 * Multiply-adds a row that the budget allows.
 * @throws ShapeError when the budget is not a positive number
 */
export function allowance(structure: string, budget: number, { nOut, nIn }: MatrixSize): number {
  if (!(budget > 0 && budget < Number.POSITIVE_INFINITY)) {
    throw new ShapeError(`${structure}: budget must be a share of the dense multiply-adds above 0, got ${budget}`);
  }
  // A budget computed as cost / dense must pay for that cost: products of such quotients fall an ulp short.
  return Math.floor(budget * nOut * nIn * (1 + 1e-12));
}

/** @throws EngineError such as `lowrank: rank 40 of (96, 48) takes 1.25 of the dense multiply-adds, the budget is 0.5` */
export function expectPaid({ structure, budget, what, cost, nOut, nIn }: Price): void {
  if (cost > allowance(structure, budget, { nOut, nIn })) {
    const share = Number((cost / (nOut * nIn)).toPrecision(6));
    throw new EngineError(
      `${structure}: ${what} of (${nOut}, ${nIn}) takes ${share} of the dense multiply-adds, the budget is ${budget}`,
      "raise the budget or ask for less",
    );
  }
}
