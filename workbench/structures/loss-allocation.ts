// Chooses the ranks of several layers within one budget, such that the predicted increase of the loss is minimal. The
// prediction of a layer at rank r is the sum of the energies beyond r, one for each singular triple that is left out.
// This file uses no tensors.

import { EngineError, ShapeError } from "../engine/core/errors.ts";
import { allowance } from "./budget.ts";
import { type LayerRank, type LayerToAllocate, RankLadder } from "./rank-ladder.ts";

/** The sizes of one layer, and by how much the loss increases without each of its singular triples. */
export interface LayerEnergies extends LayerToAllocate {
  /** predicted increases of the loss, in the order of the triples, min(n_out, n_in); each at least 0 */
  energies: ArrayLike<number>;
}

/**
 * Chooses ranks of at least 1. Starting there, the budget goes step by step to the layer whose loss falls most for each
 * multiply-add, where a step may be several ranks, or from a rank to the dense matrix. Until a step is not affordable,
 * the sum of losses is the smallest possible for its cost; then smaller steps spend the rest of the budget.
 * @param budget share of all layers' dense multiply-adds
 * @returns the ranks; `error` is the predicted increase of the loss
 * @throws EngineError when rank 1 in every layer is not affordable within the budget
 */
export function allocateByLoss(layers: readonly LayerEnergies[], budget: number): LayerRank[] {
  const ladders = layers.map((layer) => new LossLadder(layer));
  const total = layers.reduce((sum, { nOut, nIn, rows = 1 }) => sum + nOut * nIn * rows, 0);
  const rungs = ladders.map(() => 1);
  let left = allowance("allocation", budget, { nOut: total, nIn: 1 });
  left -= ladders.reduce((sum, ladder) => sum + ladder.cost(1), 0);
  if (left < 0) {
    const share = ladders.reduce((sum, ladder) => sum + ladder.cost(1), 0) / total;
    throw new EngineError(
      `allocation: rank 1 in each of ${layers.length} layers takes ${share.toPrecision(4)} of the dense multiply-adds, ` +
        `the budget is ${budget}`,
      "raise the budget or exclude layers",
    );
  }
  const steps = ladders.flatMap((ladder, layer) => ladder.steps().map((step) => ({ ...step, layer })));
  // Within a layer, gains fall from step to step, so that the order of a layer's steps is kept.
  steps.sort((a, b) => b.gain - a.gain);
  const full = new Set<number>();
  for (const { layer, rung } of steps) {
    if (full.has(layer)) continue;
    const ladder = ladders[layer] as LossLadder;
    const price = ladder.cost(rung) - ladder.cost(rungs[layer] as number);
    if (price > left) full.add(layer);
    else {
      rungs[layer] = rung;
      left -= price;
    }
  }
  spendRest(ladders, rungs, left);
  return ladders.map((ladder, i) => ladder.result(rungs[i] as number));
}

/** Spends the rest of the budget on single moves, the one with the largest decrease of the loss for its price first. */
function spendRest(ladders: readonly LossLadder[], rungs: number[], rest: number): void {
  let left = rest;
  for (;;) {
    let best: { layer: number; rung: number; price: number; gain: number } | undefined;
    for (const [layer, ladder] of ladders.entries()) {
      const from = rungs[layer] as number;
      for (let rung = from + 1; rung <= ladder.top; rung++) {
        const price = ladder.cost(rung) - ladder.cost(from);
        if (price > left) break;
        const gain = (ladder.error(from) - ladder.error(rung)) / Math.max(price, 1);
        if (gain > (best?.gain ?? 0)) best = { layer, rung, price, gain };
      }
    }
    if (!best) return;
    rungs[best.layer] = best.rung;
    left -= best.price;
  }
}

/** The choices for one layer, with the predicted increases of the loss. */
class LossLadder extends RankLadder {
  constructor(layer: LayerEnergies) {
    const { name, nOut, nIn, energies } = layer;
    const most = Math.min(nOut, nIn);
    if (energies.length !== most) {
      throw new ShapeError(`allocation: ${name} must have ${most} energies, got ${energies.length}`);
    }
    const losses = new Float64Array(most + 1);
    for (let rank = most - 1; rank >= 0; rank--) {
      losses[rank] = (losses[rank + 1] as number) + Math.max(0, energies[rank] as number);
    }
    super(layer, losses);
  }

  /** The corners of the lower convex hull of loss over cost, and the decrease of the loss for each multiply-add. */
  steps(): { rung: number; gain: number }[] {
    const slope = (from: number, to: number) => (this.error(from) - this.error(to)) / (this.cost(to) - this.cost(from));
    const corners = [1];
    for (let rung = 2; rung <= this.top; rung++) {
      while (
        corners.length > 1 &&
        slope(corners.at(-2) as number, corners.at(-1) as number) <= slope(corners.at(-1) as number, rung)
      ) {
        corners.pop();
      }
      corners.push(rung);
    }
    return corners.slice(1).map((rung, i) => ({ rung, gain: slope(corners[i] as number, rung) }));
  }
}
