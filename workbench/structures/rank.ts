// How large a rank: from a budget, or from the energy to keep. Numbers in, numbers out.

import type { MatrixSize } from "./budget.ts";

/** The largest rank whose two factors, n_out + n_in multiply-adds a row for each rank, cost no more than `allowed`. */
export const affordableRank = (allowed: number, { nOut, nIn }: MatrixSize): number =>
  Math.min(Math.floor(allowed / (nOut + nIn)), nOut, nIn);

/**
 * The smallest rank that keeps at least this share of Σ s².
 * @param singularValues all of a matrix, largest first
 * @param energy from 0 to 1
 */
export function rankOfEnergy(singularValues: ArrayLike<number>, energy: number): number {
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
