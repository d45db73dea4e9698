// Divides the budget of a model among the layers that are converted. The budget is a share of these layers'
// multiply-adds, or the relative FLOPs of the whole model. Each layer gets the same share, or the allocation is by
// singular values (structures/allocation.ts). In both cases the multiply-adds left by rounding to whole ranks are
// distributed again, so that the total is as close to the budget as the structure allows.

import type { Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import { isDense } from "../../hub/model-folder/index.ts";
import { EngineError } from "../engine/core/errors.ts";
import { countsWith, denseWeight, type LayerInfo, rowsOf } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { allocateRanks, type LayerSpectrum } from "../structures/allocation.ts";
import { allowance } from "../structures/budget.ts";
import { matrixOfPosition } from "../structures/convolution.ts";
import { dense } from "../structures/dense.ts";
import { allocateByLoss } from "../structures/loss-allocation.ts";
import { factorsCost, type LayerRank, type RankCost } from "../structures/rank-ladder.ts";
import type { Structure } from "../structures/structure.ts";
import type { Decompositions } from "./decompositions.ts";
import type { PlannedLayer } from "./plan.ts";

/** A layer whose structure and cost are not determined yet. */
export type LayerToPlan = Omit<PlannedLayer, "structure" | "allowed" | "cost">;

/** The layers of a plan and the budget that they share. */
interface ToShare {
  /** the structure of a layer; all have the same kind */
  structure: (layer: LayerToPlan) => Structure;
  layers: readonly LayerToPlan[];
  /** share of the dense multiply-adds of all layers together */
  budget: number;
  /** what a rank costs, for allocations by ranks. Default: two factors */
  rankCost?: RankCost | undefined;
  /** whether layers may stay dense. Default true */
  mayStay?: boolean | undefined;
}

/**
 * Gives each layer the same share of its dense multiply-adds.
 * @throws EngineError when the structure is not affordable for a layer with this share
 */
export function shareUniformly({ structure, layers, budget }: ToShare): PlannedLayer[] {
  const planned = layers.map((layer) => {
    const own = structure(layer);
    const allowed = allowance(own.name, budget, layer);
    return { ...layer, structure: own.name, allowed, cost: own.costWithin(layer, budget) };
  });
  // The remainder goes first to the layers that lost most by rounding down to whole ranks.
  const lost = ({ allowed, cost, dense }: PlannedLayer) => (allowed - cost) / dense;
  distributeRest(
    planned.toSorted((a, b) => lost(b) - lost(a)),
    { structure, budget },
  );
  return planned;
}

interface ToShareGlobally extends ToShare {
  /** Σ (n_in, n_in) of inputs by layer name. If given, the allocation is by output errors */
  covariances?: ReadonlyMap<string, Tensor2D> | undefined;
  /** stores the decompositions that are computed here */
  decompositions: Decompositions;
}

/**
 * Allocates the budget by singular values.
 * @throws EngineError when rank 1 in every layer is not affordable within the budget
 */
export async function shareGlobally(
  model: Model,
  { structure, layers, budget, rankCost, mayStay, covariances, decompositions }: ToShareGlobally,
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
      rankCost,
      mayStay,
      singularValues: await spectrumOf(model, layer, { covariance: covariances?.get(name), decompositions }),
    });
  }
  return plannedWith(allocateRanks(spectra, budget), { structure, layers, budget, rankCost });
}

interface ToShareByLoss extends ToShare {
  /** by layer name, see `LayerEnergies` */
  energies: ReadonlyMap<string, ArrayLike<number>>;
}

/**
 * Allocates the budget such that the predicted increase of the loss is minimal.
 * @throws EngineError when rank 1 in every layer is not affordable within the budget, or a layer has no energies
 */
export function shareByLoss({ structure, layers, budget, rankCost, mayStay, energies }: ToShareByLoss): PlannedLayer[] {
  if (layers[0] && structure(layers[0]).isDense) return shareUniformly({ structure, layers, budget });
  const sized = layers.map(({ name, nIn, nOut, rows }) => {
    const own = energies.get(name);
    if (!own) throw new EngineError(`${name} has no energies for an allocation by the loss`, "calibrate it first");
    return { name, nIn, nOut, rows, rankCost, mayStay, energies: own };
  });
  return plannedWith(allocateByLoss(sized, budget), { structure, layers, budget, rankCost });
}

/** The plan in which each layer costs as much as its rank. */
function plannedWith(
  ranks: readonly LayerRank[],
  { structure, layers, budget, rankCost = factorsCost }: ToShare,
): PlannedLayer[] {
  const planned = layers.map((layer, i): PlannedLayer => {
    const { dense: stays, rank } = ranks[i] as (typeof ranks)[number];
    if (stays) return { ...layer, structure: dense.name, allowed: layer.dense, cost: layer.dense };
    const allowed = rankCost(rank, layer);
    const own = structure(layer);
    const cost = own.costWithin(layer, allowed / layer.dense);
    return { ...layer, structure: own.name, allowed, cost };
  });
  // The layer with the largest error comes first, because it gains most from a part of a rank.
  const errors = new Map(ranks.map(({ name, error }) => [name, error]));
  distributeRest(
    planned.toSorted((a, b) => (errors.get(b.name) ?? 0) - (errors.get(a.name) ?? 0)),
    { structure, budget },
  );
  return planned;
}

/** Distributes the rest of the budget. Each layer in turn gets at most what one more rank with two factors costs. */
function distributeRest(planned: PlannedLayer[], { structure, budget }: Pick<ToShare, "structure" | "budget">): void {
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

/** The matrix (n_out, n_in) of a layer, or of one position of a convolution that is still whole; the caller disposes of it. */
export function plannedWeight(model: Model, { name, position }: LayerToPlan): Tensor2D {
  if (!position || model.layers.has(name)) return denseWeight(model, name);
  return matrixOfPosition(model.parameter(`${position.of}.weight`) as unknown as Tensor4D, position.index);
}

async function spectrumOf(
  model: Model,
  layer: LayerToPlan,
  { covariance, decompositions }: { covariance: Tensor2D | undefined; decompositions: Decompositions },
): Promise<ArrayLike<number>> {
  const known = decompositions.outputSpectrumOf(layer.name);
  if (known) return known;
  const weight = plannedWeight(model, layer);
  try {
    return await decompositions.singularValues(layer.name, weight, covariance);
  } finally {
    weight.dispose();
  }
}

/**
 * Checks a budget, and returns it.
 * @throws EngineError when it is not above 0 and at most 1
 */
export function expectShare(budget: number): number {
  if (!(budget > 0 && budget <= 1)) {
    throw new EngineError(
      `the budget must be above 0 and at most 1, a share of the converted layers' multiply-adds, got ${budget}`,
      "use such a share, e.g. 0.35",
    );
  }
  return budget;
}

/**
 * The share of the layers' dense multiply-adds at which the model has these relative FLOPs by the reference count: the
 * requested total less the multiply-adds of the rest of the model.
 * @throws EngineError when no cost of these layers gives the model these relative FLOPs
 */
export function shareOfFlops(model: Model, layers: readonly LayerInfo[], flops: number): number {
  const { reference } = countsWith(model, {});
  const uncounted = layers.find((layer) => rowsOf(layer, "reference") === 0);
  if (uncounted) {
    throw new EngineError(
      `relative FLOPs by the reference count treat ${uncounted.name} as dense in any structure`,
      "exclude it, or use a budget instead",
    );
  }
  const dense = layers.reduce((sum, layer) => sum + rowsOf(layer, "reference") * layer.nIn * layer.nOut, 0);
  // The reference may count a structured layer with a different number of rows than a dense one of the same cost.
  const whole = countsWith(model, Object.fromEntries(layers.map(({ name, nIn, nOut }) => [name, nIn * nOut])));
  const rest = whole.reference.total - dense;
  // relative = total / unit, the total that published tables divide by
  const unit = reference.total / reference.relative;
  const share = (flops * unit - rest) / dense;
  if (!(share > 0 && share <= 1)) {
    const [from, to] = [rest / unit, whole.reference.relative].map((value) => value.toPrecision(4));
    throw new EngineError(
      `relative FLOPs by the reference count must be above ${from}, the cost of the rest of the model, and at most ` +
        `${to}, with these layers at their dense cost, got ${flops}`,
      "use a number in this range, convert more layers, or use a budget of these layers instead",
    );
  }
  return share;
}
