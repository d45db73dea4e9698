// From what was asked of a whole model to what its converted layers may cost. The two meanings of a budget meet here:
// a share of those layers' own multiply-adds, or the published relative FLOPs of everything. No tensors.

import type { LayerInfo } from "../architectures/network.ts";
import { EngineError } from "../engine/core/errors.ts";
import { countsWith, rowsOf } from "../models/index.ts";
import type { Model } from "../models/model.ts";

/**
 * @returns the budget itself
 * @throws EngineError when it is not above 0 and at most 1
 */
export function expectShare(budget: number): number {
  if (!(budget > 0 && budget <= 1)) {
    throw new EngineError(
      `the budget must be above 0 and at most 1, a share of the converted layers' multiply-adds, got ${budget}`,
      "give such a share, e.g. 0.35",
    );
  }
  return budget;
}

/**
 * The share of the layers' dense multiply-adds at which the model has these relative FLOPs as the reference counts them:
 * what they may cost is what is asked for less what the rest of the model takes.
 * @throws EngineError when the model cannot have them, whatever these layers cost
 */
export function shareOfFlops(model: Model, layers: readonly LayerInfo[], flops: number): number {
  const { reference } = countsWith(model, {});
  const uncounted = layers.find((layer) => rowsOf(layer, "reference") === 0);
  if (uncounted) {
    throw new EngineError(
      `relative FLOPs as published count ${uncounted.name} as dense whatever it is`,
      "leave it out, or give a budget instead",
    );
  }
  const dense = layers.reduce((sum, layer) => sum + rowsOf(layer, "reference") * layer.nIn * layer.nOut, 0);
  // Structured layers may count for more or less than dense ones of the same cost: where they are, not what they take.
  const whole = countsWith(model, Object.fromEntries(layers.map(({ name, nIn, nOut }) => [name, nIn * nOut])));
  const rest = whole.reference.total - dense;
  // relative = total / what published tables divide by
  const unit = reference.total / reference.relative;
  const share = (flops * unit - rest) / dense;
  if (!(share > 0 && share <= 1)) {
    const [from, to] = [rest / unit, whole.reference.relative].map((value) => value.toPrecision(4));
    throw new EngineError(
      `relative FLOPs as published tables count must be above ${from}, what the rest of the model takes, and at most ` +
        `${to}, these layers at their whole cost, got ${flops}`,
      "give a number between, convert more layers, or give a budget of these layers instead",
    );
  }
  return share;
}
