// Shares one budget out over the ranks of several layers, from their singular values: the least largest error over all
// layers (after Liebenwein et al. 2021, ALDS, arXiv 2107.11442). Numbers in, numbers out.

import { EngineError, ShapeError } from "../engine/core/errors.ts";
import { allowance, frobeniusErrors, type MatrixSize } from "./budget.ts";

export interface LayerSpectrum extends MatrixSize {
  name: string;
  /** all min(n_out, n_in) of them, largest first */
  singularValues: ArrayLike<number>;
  /** rows that go through it for each pass of the model, e.g. the positions of a convolution. Default 1 */
  rows?: number;
}

export interface LayerRank {
  name: string;
  rank: number;
  /** factors of that rank would cost as much as the matrix itself, or more: leave it as it is. Its error is then 0 */
  dense: boolean;
  /** relative, in the norm asked for */
  error: number;
  /** multiply-adds for each pass of the model */
  cost: number;
}

export interface AllocationOptions {
  /**
   * of W − W_r against W. `spectral`: s_{r+1} / s_1, as in ALDS; `frobenius`: root of the energy left out. Default
   * `spectral`
   */
  norm?: "spectral" | "frobenius";
}

/**
 * Ranks from 1 that bring the largest relative error over all layers as low as the budget allows; what is left of the
 * budget then goes, one rank at a time, to the worst layer that it still pays for.
 * @param budget share of all layers' dense multiply-adds
 * @throws EngineError when the budget does not pay for rank 1 everywhere
 */
export function allocateRanks(
  layers: readonly LayerSpectrum[],
  budget: number,
  options: AllocationOptions = {},
): LayerRank[] {
  const ladders = layers.map((layer) => new Ladder(layer, options));
  const allowed = totalAllowance(layers, budget);
  const costAt = (error: number) => ladders.reduce((sum, ladder) => sum + ladder.cost(ladder.rungFor(error)), 0);
  const errors = Float64Array.from(new Set(ladders.flatMap((ladder) => [...ladder.errors]))).sort();
  if (costAt(Number.POSITIVE_INFINITY) > allowed) {
    const share = costAt(Number.POSITIVE_INFINITY) / totalDense(layers);
    throw new EngineError(
      `allocation: rank 1 in each of ${layers.length} layers takes ${share.toPrecision(4)} of the dense multiply-adds, ` +
        `the budget is ${budget}`,
      "raise the budget or leave layers out",
    );
  }
  // The only largest errors there can be are the layers' own: bisect over those, not over numbers.
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

/** What one layer can be: ranks 1, 2, … while factors are cheaper than the matrix, then the matrix itself. */
class Ladder {
  /** relative error by rung; rung r is rank r, the last one the matrix itself. Rung 0 is not used */
  readonly errors: Float64Array;
  readonly top: number;
  private readonly layer: LayerSpectrum;

  constructor(layer: LayerSpectrum, { norm = "spectral" }: AllocationOptions) {
    const { nOut, nIn, singularValues } = layer;
    const most = Math.min(nOut, nIn);
    if (singularValues.length !== most) {
      throw new ShapeError(`allocation: ${layer.name} must have ${most} singular values, got ${singularValues.length}`);
    }
    this.layer = layer;
    this.top = Math.max(1, Math.ceil((nOut * nIn) / (nOut + nIn)));
    const all = norm === "spectral" ? spectralErrors(singularValues) : frobeniusErrors(singularValues);
    this.errors = all.slice(0, this.top + 1);
    this.errors[this.top] = 0;
  }

  /** The cheapest rung whose error is no larger. */
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

/** s_{r+1} / s_1 for each rank r from 0 to all. */
function spectralErrors(singularValues: ArrayLike<number>): Float64Array {
  const first = singularValues[0] ?? 0;
  return Float64Array.from({ length: singularValues.length + 1 }, (_, r) =>
    first > 0 ? (singularValues[r] ?? 0) / first : 0,
  );
}

const totalDense = (layers: readonly LayerSpectrum[]): number =>
  layers.reduce((sum, { nOut, nIn, rows = 1 }) => sum + nOut * nIn * rows, 0);

const totalAllowance = (layers: readonly LayerSpectrum[], budget: number): number =>
  allowance("allocation", budget, { nOut: totalDense(layers), nIn: 1 });
