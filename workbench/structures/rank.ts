// How large a rank: from a budget, or from the energy to keep. Numbers in, numbers out.

import { ShapeError } from "../engine/errors.ts";
import { allowance, type MatrixSize } from "./budget.ts";

/** The largest rank whose two factors, n_out + n_in multiply-adds a row for each rank, cost no more than the budget. */
export function rankOfBudget(budget: number, { nOut, nIn }: MatrixSize): number {
  const affordable = Math.floor(allowance("rank", budget, { nOut, nIn }) / (nOut + nIn));
  return Math.min(affordable, nOut, nIn);
}

/**
 * The smallest rank that keeps at least this share of Σ s².
 * @param singularValues all of a matrix, largest first
 * @param energy from 0 to 1
 * @throws ShapeError when energy is out of range
 */
export function rankOfEnergy(singularValues: ArrayLike<number>, energy: number): number {
  if (!(energy >= 0 && energy <= 1)) {
    throw new ShapeError(`rank: energy must be from 0 to 1, got ${energy}`);
  }
  // What is left out is summed smallest first: a tail of 1e-9 must not drown in the head.
  const squares = Array.from(singularValues, (s) => s * s);
  const total = squares.reduceRight((sum, square) => sum + square, 0);
  let rank = squares.length;
  for (let left = 0; rank > 1; rank--) {
    left += squares[rank - 1] as number;
    if (left > (1 - energy) * total) {
      break;
    }
  }
  return rank;
}

/** ‖W − W_r‖ / ‖W‖ in the Frobenius norm for each rank r from 0 to all. */
export function frobeniusErrors(singularValues: ArrayLike<number>): Float64Array {
  const count = singularValues.length;
  const errors = new Float64Array(count + 1);
  for (let rank = count - 1; rank >= 0; rank--) {
    errors[rank] = (errors[rank + 1] as number) + (singularValues[rank] as number) ** 2;
  }
  const total = errors[0] as number;
  return errors.map((left) => (total > 0 ? Math.sqrt(left / total) : 0));
}
