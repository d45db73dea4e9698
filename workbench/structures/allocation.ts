// Chooses the ranks of several layers within one budget from their singular values, such that the largest relative
// error over all layers is minimal (after ALDS, Liebenwein et al. 2021, arXiv 2107.11442). This file uses no tensors.

import { EngineError, ShapeError } from "../engine/core/errors.ts";
import { allowance, frobeniusErrors, type MatrixSize } from "./budget.ts";

/** The sizes and singular values of one layer. */
export interface LayerSpectrum extends MatrixSize {
  name: string;
  /** all min(n_out, n_in) singular values, largest first */
  singularValues: ArrayLike<number>;
  /** rows that go through the layer in one pass of the model, e.g. the positions of a convolution. Default 1 */
  rows?: number;
}

/** The rank of one layer, with its error and cost. */
export interface LayerRank {
  name: string;
  rank: number;
  /** whether the layer stays dense, because factors of this rank would cost at least as much. The error is then 0 */
  dense: boolean;
  /** relative error ‖W − W_r‖ / ‖W‖ in the Frobenius norm */
  error: number;
  /** multiply-adds in one pass of the model */
  cost: number;
}

/**
 * Chooses ranks of at least 1, such that the largest relative error over all layers is as small as the budget allows.
 * The remainder of the budget goes, one rank at a time, to the layer with the largest error for which another rank is
 * affordable.
 * @param budget share of all layers' dense multiply-adds
 * @throws EngineError when rank 1 in every layer is not affordable within the budget
 */
export function allocateRanks(layers: readonly LayerSpectrum[], budget: number): LayerRank[] {
  const ladders = layers.map((layer) => new Ladder(layer));
  const allowed = totalAllowance(layers, budget);
  const costAt = (error: number) => ladders.reduce((sum, ladder) => sum + ladder.cost(ladder.rungFor(error)), 0);
  const errors = Float64Array.from(new Set(ladders.flatMap((ladder) => [...ladder.errors]))).sort();
  if (costAt(Number.POSITIVE_INFINITY) > allowed) {
    const share = costAt(Number.POSITIVE_INFINITY) / totalDense(layers);
    throw new EngineError(
      `allocation: rank 1 in each of ${layers.length} layers takes ${share.toPrecision(4)} of the dense multiply-adds, ` +
        `the budget is ${budget}`,
      "raise the budget or exclude layers",
    );
  }
  // The largest error is the error of some layer at some rank, so the bisection runs over these values.
  let [low, high] = [0, errors.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (costAt(errors[middle] as number) <= allowed) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  const rungs = ladders.map((ladder) => ladder.rungFor(errors[low] ?? 0));
  spendRest(ladders, rungs, allowed);
  return ladders.map((ladder, i) => ladder.result(rungs[i] as number));
}

/**
 * The choices for one layer, numbered as rungs from 1: ranks 1, 2, … while factors cost less than the matrix, then the
 * matrix itself.
 */
class Ladder {
  /** relative error by rung. Rung r is rank r, the last rung is the matrix itself; rung 0 is not used */
  readonly errors: Float64Array;
  readonly top: number;
  private readonly layer: LayerSpectrum;

  constructor(layer: LayerSpectrum) {
    const { nOut, nIn, singularValues } = layer;
    const most = Math.min(nOut, nIn);
    if (singularValues.length !== most) {
      throw new ShapeError(`allocation: ${layer.name} must have ${most} singular values, got ${singularValues.length}`);
    }
    this.layer = layer;
    this.top = Math.max(1, Math.ceil((nOut * nIn) / (nOut + nIn)));
    this.errors = frobeniusErrors(singularValues).slice(0, this.top + 1);
    this.errors[this.top] = 0;
  }

  /** The cheapest rung whose error is at most this. */
  rungFor(error: number): number {
    let [low, high] = [1, this.top];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.errors[middle] as number) <= error) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  cost(rung: number): number {
    const { nOut, nIn, rows = 1 } = this.layer;
    return rows * (rung === this.top ? nOut * nIn : rung * (nOut + nIn));
  }

  result(rung: number): LayerRank {
    const dense = rung === this.top;
    const rank = dense ? Math.min(this.layer.nOut, this.layer.nIn) : rung;
    return { name: this.layer.name, rank, dense, error: this.errors[rung] as number, cost: this.cost(rung) };
  }
}

/** Spends the rest of the budget, one rank at a time, on the layer with the largest error that can be reduced. */
function spendRest(ladders: readonly Ladder[], rungs: number[], allowed: number): void {
  let left = allowed - ladders.reduce((sum, ladder, i) => sum + ladder.cost(rungs[i] as number), 0);
  for (;;) {
    let worst = -1;
    let [largest, price] = [0, 0];
    ladders.forEach((ladder, i) => {
      const rung = rungs[i] as number;
      const error = ladder.errors[rung] as number;
      const step = rung < ladder.top ? ladder.cost(rung + 1) - ladder.cost(rung) : Number.POSITIVE_INFINITY;
      if (error > largest && step <= left) {
        [worst, largest, price] = [i, error, step];
      }
    });
    if (worst < 0) {
      return;
    }
    rungs[worst] = (rungs[worst] as number) + 1;
    left -= price;
  }
}

const totalDense = (layers: readonly LayerSpectrum[]): number =>
  layers.reduce((sum, { nOut, nIn, rows = 1 }) => sum + nOut * nIn * rows, 0);

const totalAllowance = (layers: readonly LayerSpectrum[], budget: number): number =>
  allowance("allocation", budget, { nOut: totalDense(layers), nIn: 1 });
