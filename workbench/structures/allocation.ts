// Chooses the ranks of several layers within one budget from their singular values, such that the largest relative
// error over all layers is minimal (after ALDS, Liebenwein et al. 2021, arXiv 2107.11442). This file uses no tensors.

import { EngineError, ShapeError } from "../engine/core/errors.ts";
import { allowance, frobeniusErrors } from "./budget.ts";
import { type LayerRank, type LayerToAllocate, RankLadder } from "./rank-ladder.ts";

/** The sizes and singular values of one layer. */
export interface LayerSpectrum extends LayerToAllocate {
  /** all min(n_out, n_in) singular values, largest first */
  singularValues: ArrayLike<number>;
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
  const errors = Float64Array.from(new Set(ladders.flatMap((ladder) => ladder.all()))).sort();
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

/** The choices for one layer, with their relative errors. */
class Ladder extends RankLadder {
  constructor(layer: LayerSpectrum) {
    const { name, nOut, nIn, singularValues } = layer;
    const most = Math.min(nOut, nIn);
    if (singularValues.length !== most) {
      throw new ShapeError(`allocation: ${name} must have ${most} singular values, got ${singularValues.length}`);
    }
    super(layer, frobeniusErrors(singularValues));
  }

  /** The errors of all choices. */
  all(): number[] {
    return Array.from({ length: this.top }, (_, at) => this.error(at + 1));
  }

  /** The cheapest rung whose error is at most this. */
  rungFor(error: number): number {
    let [low, high] = [1, this.top];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.error(middle) <= error) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
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
      const error = ladder.error(rung);
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
