// From what was asked of a whole model to what each converted layer may cost. A budget is a share of those layers' own
// multiply-adds, or the published relative FLOPs of everything. It is shared out alike, or by singular values
// (structures/allocation.ts). Either way what whole ranks leave over is handed on, so that the sum comes as near the budget as
// the structure allows.

import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import { isDense } from "../../hub/model-folder/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import { countsWith, denseWeight, type LayerInfo, rowsOf } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { allocateRanks, type LayerSpectrum } from "../structures/allocation.ts";
import { allowance } from "../structures/budget.ts";
import { matrixOfPosition } from "../structures/convolution.ts";
import { dense } from "../structures/dense.ts";
import type { Structure } from "../structures/structure.ts";
import type { Decompositions } from "./decompositions.ts";
import type { PlannedLayer } from "./plan.ts";

export type LayerToPlan = Omit<PlannedLayer, "structure" | "allowed" | "cost">;

interface ToShare {
  /** what a layer becomes; one kind for all */
  structure: (layer: LayerToPlan) => Structure;
  layers: readonly LayerToPlan[];
  /** of the dense multiply-adds of all layers together */
  budget: number;
}

/** @throws EngineError when the share of a layer does not pay for the structure */
export function shareUniformly({ structure, layers, budget }: ToShare): PlannedLayer[] {
  const planned = layers.map((layer) => {
    const own = structure(layer);
    const allowed = allowance(own.name, budget, layer);
    return { ...layer, structure: own.name, allowed, cost: own.costWithin(layer, budget) };
  });
  // First to those that whole ranks rounded down most.
  const lost = ({ allowed, cost, dense }: PlannedLayer) => (allowed - cost) / dense;
  handOn(
    planned.toSorted((a, b) => lost(b) - lost(a)),
    { structure, budget },
  );
  return planned;
}

interface ToShareGlobally extends ToShare {
  /** Σ (n_in, n_in) of inputs by layer name: the allocation then goes by the errors of outputs */
  covariances?: ReadonlyMap<string, Tensor2D> | undefined;
  /** keeps what is decomposed here */
  decompositions: Decompositions;
}

/** @throws EngineError when the budget does not pay for rank 1 in each layer */
export async function shareGlobally(
  model: Model,
  { structure, layers, budget, covariances, decompositions }: ToShareGlobally,
): Promise<PlannedLayer[]> {
  if (layers[0] && structure(layers[0]).isDense) return shareUniformly({ structure, layers, budget });
  const spectra: LayerSpectrum[] = [];
  for (const layer of layers) {
    const { name, nIn, nOut, rows } = layer;
    spectra.push({
      name,
      nIn,
      nOut,
      rows,
      singularValues: await spectrumOf(model, layer, { covariance: covariances?.get(name), decompositions }),
    });
  }
  const ranks = allocateRanks(spectra, budget, { norm: "frobenius" });
  const planned = layers.map((layer, i): PlannedLayer => {
    const { dense: stays, rank } = ranks[i] as (typeof ranks)[number];
    if (stays) return { ...layer, structure: dense.name, allowed: layer.dense, cost: layer.dense };
    const allowed = rank * (layer.nIn + layer.nOut);
    const own = structure(layer);
    const cost = own.costWithin(layer, allowed / layer.dense);
    return { ...layer, structure: own.name, allowed, cost };
  });
  // The worst first: it gains most from a part of a rank.
  const errors = new Map(ranks.map(({ name, error }) => [name, error]));
  handOn(
    planned.toSorted((a, b) => (errors.get(b.name) ?? 0) - (errors.get(a.name) ?? 0)),
    { structure, budget },
  );
  return planned;
}

/** Gives each layer in turn up to one more rank of what all of them leave of the budget. */
function handOn(planned: PlannedLayer[], { structure, budget }: Pick<ToShare, "structure" | "budget">): void {
  const total = (of: "dense" | "cost") => planned.reduce((sum, layer) => sum + layer.rows * layer[of], 0);
  let left = allowance("plan", budget, { nOut: total("dense"), nIn: 1 }) - total("cost");
  for (const layer of planned) {
    const room = Math.min(layer.cost + Math.floor(left / layer.rows), layer.allowed + layer.nIn + layer.nOut);
    if (isDense(layer.structure) || room <= layer.allowed || room > layer.dense) continue;
    const cost = structure(layer).costWithin(layer, room / layer.dense);
    if (cost <= layer.cost) continue;
    left -= layer.rows * (cost - layer.cost);
    layer.allowed = room;
    layer.cost = cost;
  }
}

/** (n_out, n_in), also of a position while its convolution is whole. */
function plannedWeight(model: Model, { name, position }: LayerToPlan): Tensor2D {
  if (!position || model.layers.has(name)) return denseWeight(model, name);
  return matrixOfPosition(model.parameter(`${position.of}.weight`) as unknown as Tensor4D, position.index);
}

async function spectrumOf(
  model: Model,
  layer: LayerToPlan,
  { covariance, decompositions }: { covariance: Tensor2D | undefined; decompositions: Decompositions },
): Promise<ArrayLike<number>> {
  const weight = plannedWeight(model, layer);
  try {
    return await decompositions.singularValues(layer.name, weight, covariance);
  } finally {
    weight.dispose();
  }
}

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
