// Carries a plan out, layer by layer: a matrix is read, its structure fitted, the layer replaced, the matrix let go.
// Biases stay as they are. Deterministic by seed.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import { isDense } from "../../hub/model-folder/index.ts";
import type { Counts } from "../architectures/count.ts";
import { EngineError, ShapeError } from "../engine/core/errors.ts";
import { countsWith, denseWeight, replaceLayer, splitConvolution } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { type LayerErrors, layerErrors } from "../structures/layer-errors.ts";
import { structureNamed, structures } from "../structures/registry.ts";
import {
  eventLoopTurn,
  INITS,
  type Init,
  type SearchProgress,
  type StartedLayer,
  type StartOptions,
} from "../structures/structure.ts";
import { Decompositions } from "./decompositions.ts";
import { type ConversionPlan, expectDense, namesIn, type PlannedLayer, type PlanTotals, totalsOf } from "./plan.ts";

/** How layers are initialized, besides the plan. */
export interface ConvertOptions {
  /** see INITS. Default `svd` */
  init?: Init;
  /** Σ (n_in, n_in) of inputs by layer name: `activation` needs them; others then report errors of outputs too */
  covariances?: ReadonlyMap<string, Tensor2D>;
  /** GBLR: rule of gblr/init for starting locations. Default `linspace` */
  locations?: string;
  /** of the search and of `uniform` locations. Default 0 */
  seed?: number;
  /** optimizer steps of the search, each layer. Default 1000 */
  searchSteps?: number;
  /** what planning decomposed. Default nothing */
  decompositions?: Decompositions | undefined;
  /** ends the conversion between two layers, or within a search; layers done stay converted */
  signal?: AbortSignal;
}

/** A layer after its conversion: its plan, cost, errors and time. */
export interface ConvertedLayer extends PlannedLayer, LayerErrors {
  /** the initialization that its parameters are of: `svd` where the search found nothing nearer */
  by: Init;
  /** wall clock */
  seconds: number;
}

/** What a conversion did, layer by layer and in all. */
export interface Conversion {
  structure: string;
  init: Init;
  layers: ConvertedLayer[];
  totals: PlanTotals;
  counts: Counts;
}

/** Progress of a conversion; the last event is the conversion's result. */
export type ConvertEvent =
  | { kind: "layer"; name: string; index: number; of: number }
  | SearchProgress
  | { kind: "replaced"; layer: ConvertedLayer }
  | ({ kind: "converted" } & Conversion);

/**
 * Replaces the layers of a plan by structured ones, one after the other.
 * @param model dense, the one that was planned for; it is changed in place
 * @throws EngineError when the initialization is none of the structure's, or lacks what it needs
 */
export async function* convert(
  model: Model,
  plan: ConversionPlan,
  options: ConvertOptions = {},
): AsyncGenerator<ConvertEvent, void> {
  expectDense(model, namesIn(model, plan.layers));
  const init = expectInit(options.init ?? "svd", plan.structure);
  if (init === "search" && "widths" in plan.asked) {
    throw new EngineError(`init search finds widths itself, the plan has "${plan.asked.widths}"`, "choose one");
  }
  const layers: ConvertedLayer[] = [];
  for (const [index, layer] of plan.layers.entries()) {
    options.signal?.throwIfAborted();
    takeApart(model, [layer]);
    yield { kind: "layer", name: layer.name, index, of: plan.layers.length };
    const converted = yield* convertLayer(model, layer, { ...options, plan, init });
    layers.push(converted);
    yield { kind: "replaced", layer: converted };
    await eventLoopTurn();
  }
  yield {
    kind: "converted",
    structure: plan.structure,
    init,
    layers,
    totals: { ...totalsOf(layers, plan.totals.budget), allowed: plan.totals.allowed },
    counts: countsWith(model, Object.fromEntries(layers.map(({ name, cost }) => [name, cost]))),
  };
}

/**
 * Holds convolutions position by position where the plan has them so. Calibration for such a plan needs it done before;
 * a conversion does it as it goes.
 */
export function takeApart(model: Model, layers: readonly PlannedLayer[]): void {
  for (const { position } of layers) {
    if (position && model.layers.has(position.of)) splitConvolution(model, position.of);
  }
}

interface LayerOptions extends ConvertOptions {
  plan: ConversionPlan;
  init: Init;
}

async function* convertLayer(
  model: Model,
  layer: PlannedLayer,
  { plan, init, covariances, decompositions, locations, signal, seed = 0, searchSteps = 1000 }: LayerOptions,
): AsyncGenerator<SearchProgress, ConvertedLayer> {
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  const covariance = covariances?.get(layer.name);
  if (isDense(layer.structure)) {
    return { ...layer, by: init, error: 0, ...(covariance && { outputError: 0 }), seconds: seconds() };
  }
  const structure = structureNamed(layer.structure).forLayer(layer, model.masks);
  const widths = "widths" in plan.asked ? plan.asked.widths : undefined;
  const weight = denseWeight(model, layer.name);
  try {
    const start = { structure, layer, covariance, searchSteps, seed, signal };
    const rules = { ...(widths !== undefined && { widths }), ...(locations !== undefined && { locations }) };
    const known = decompositions ?? new Decompositions();
    // A search compares itself with the plain start and falls back on it: both are of the same triples.
    if (init === "search") await known.singularValues(layer.name, weight);
    const { parameters, by } = yield* known.handedOn(layer.name, weight, () =>
      startLayer(weight, init, { ...start, ...rules }),
    );
    const approximation = structure.dense(parameters);
    const errors = await layerErrors(weight, approximation, covariance);
    approximation.dispose();
    const cost = await structure.cost(parameters);
    replaceLayer(model, layer.name, structure, parameters);
    return { ...layer, cost, by, ...errors, seconds: seconds() };
  } catch (error) {
    // What is wrong with a matrix says nothing of whose it is.
    throw error instanceof ShapeError ? new ShapeError(`${layer.name}: ${error.message}`, { cause: error }) : error;
  } finally {
    weight.dispose();
  }
}

/** Parameters fitted to one matrix, float32 (n_out, n_in). */
async function* startLayer(
  weight: Tensor2D,
  init: Init,
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { structure, layer, widths, locations, seed } = options;
  const start = structure.starts?.[init];
  if (start) return yield* start(weight, options);
  const rules = { ...(widths && { widths }), ...(locations && { locations }), ...(seed !== undefined && { seed }) };
  return { parameters: await structure.fromDense(weight, layer.allowed / (layer.nIn * layer.nOut), rules), by: init };
}

/**
 * `svd` starts every structure, the others those that say so.
 * @throws EngineError when there is no such initialization, or none of this structure
 */
export function expectInit(init: string, structure: string): Init {
  const known = INITS.find((name) => name === init);
  if (known === undefined) {
    throw new EngineError(`there is no init "${init}": there is ${INITS.join(", ")}`, "give one of these names");
  }
  const isPlain = INITS.indexOf(known) === 0;
  if (isPlain || structureNamed(structure).starts?.[known]) return known;
  const able = structures().flatMap(({ name, starts }) => (starts?.[known] ? [name] : []));
  throw new EngineError(`init ${init} is for ${able.join(" and ")}, the structure is ${structure}`, "use init svd");
}
