// Executes a conversion plan layer by layer: fits the structure to the layer's matrix and replaces the layer. Biases
// are not changed. The result is determined by the seed.

import type { Tensor1D, Tensor2D } from "@tensorflow/tfjs-core";
import { isDense } from "../../hub/model-folder/index.ts";
import type { Counts } from "../architectures/count.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { shared } from "../distributed/shares.ts";
import { EngineError, ShapeError } from "../engine/core/errors.ts";
import { releaseMemory } from "../engine/ops/index.ts";
import { SharedWhitening, type Whitening } from "../gblr/init/index.ts";
import { countsWith, denseWeight, replaceLayer } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import { dense } from "../structures/dense.ts";
import { type LayerErrors, layerErrors } from "../structures/layer-errors.ts";
import { structureNamed, structures } from "../structures/registry.ts";
import {
  eventLoopTurn,
  INITS,
  type Init,
  type NestedLayer,
  type SearchProgress,
  type SizeRanks,
  type StartedLayer,
  type StartOptions,
} from "../structures/structure.ts";
import { cut, dealt } from "./dealt-layers.ts";
import { Decompositions } from "./decompositions.ts";
import { type FinishedLayers, Keeper } from "./finished-layers.ts";
import {
  type ConversionPlan,
  expectDense,
  namesIn,
  type PlannedLayer,
  type PlanTotals,
  takeApart,
  totalsOf,
} from "./plan.ts";
import { finishedNames, restored } from "./restored-layers.ts";
import { type SequentialProgress, targetOf } from "./sequential.ts";

/** Options of `convert`. */
export interface ConvertOptions {
  /** initialization, see `INITS`. Default `svd` */
  init?: Init;
  /**
   * Σ (n_in, n_in) of inputs by layer name. Required by `activation`; with them, output errors are reported. The Σ of a
   * layer is read after the event `group` of its group, so that a caller may compute it then
   */
  covariances?: ReadonlyMap<string, Tensor2D>;
  /**
   * K (n_in, n_in) by layer name: a layer is fitted to W + W K instead of its weight W, see sequential.ts. Read when its
   * Σ is read. Default none
   */
  corrections?: ReadonlyMap<string, Tensor2D>;
  /** by layer name, see `StartOptions.importance`. Required where `INIT_KINDS` says so */
  importances?: ReadonlyMap<string, Tensor1D> | undefined;
  /** how covariances are factored, see gblr/init/whitening.ts. Default `cholesky` */
  whitening?: Whitening | undefined;
  /** GBLR: rule for initial locations, see gblr/init/rules.ts. Default `linspace` */
  locations?: string;
  /** random seed of the search and of `uniform` locations. Default 0 */
  seed?: number;
  /** optimizer steps of the search per layer. Default 1000 */
  searchSteps?: number;
  /** GBLR: blocks of a search by outputs begin and end at multiples of so many samples. Default 1 */
  quantum?: number | undefined;
  /** GBLR: rank of the blocks of a search by outputs. Default 1 */
  blockRank?: number | undefined;
  /** GBLR: blocks of a search by outputs do not cancel each other, so that they can be trained. Default false */
  stableBlocks?: boolean | undefined;
  /** decompositions computed by the plan. Default none */
  decompositions?: Decompositions | undefined;
  /**
   * names of the layers in the order in which they are converted, in groups: the result of a layer does not depend on
   * others of its group. Default: one group in the order of the plan
   */
  groups?: readonly (readonly string[])[] | undefined;
  /** keeps finished layers on disk, and reads those of an earlier process. Default: none are kept */
  finished?: FinishedLayers | undefined;
  /**
   * processes that share the layers of each group. They have the same plan and the same events `group`, and read the
   * layers of the others from `finished`, whose folder all of them see. Default: there is one process
   */
  ranks?: ProcessGroup | undefined;
  /** stops the conversion between two layers, or within a search; finished layers stay converted */
  signal?: AbortSignal;
}

/**
 * A layer after its conversion: its plan, cost, errors and time. With a correction K, the output error is that of the
 * target W + W K for the inputs that the layer will see.
 */
export interface ConvertedLayer extends PlannedLayer, LayerErrors {
  /** the initialization used; `svd` if a search did not find a smaller error */
  by: Init;
  /** GBLR: the parts of the matrix that a search by outputs has found blocks for, and what each is worth */
  tiles?: StartedLayer["tiles"];
  /** of a model of several sizes; `cost` and errors are those of the largest size */
  ranks?: SizeRanks;
  /** wall-clock time */
  seconds: number;
}

/** The result of a conversion, for each layer and in total. */
export interface Conversion {
  structure: string;
  init: Init;
  layers: ConvertedLayer[];
  totals: PlanTotals;
  counts: Counts;
}

/** Progress of a conversion; the last event is the conversion's result. */
export type ConvertEvent =
  /** precedes the conversion of these layers, whose results do not depend on each other */
  | { kind: "group"; names: readonly string[] }
  | { kind: "layer"; name: string; index: number; of: number }
  | SearchProgress
  | SequentialProgress
  /** follows a `layer`, unless another process has converted it */
  | { kind: "replaced"; layer: ConvertedLayer }
  /** like `replaced`, for a layer that an earlier process has converted */
  | { kind: "restored"; layer: ConvertedLayer; index: number; of: number }
  | ({ kind: "converted" } & Conversion);

/**
 * Replaces the layers of a plan by structured ones.
 * @param model the dense model of the plan; changed in place
 * @throws EngineError when the structure does not have the initialization, or a covariance is missing
 */
export async function* convert(
  model: Model,
  plan: ConversionPlan,
  options: ConvertOptions = {},
): AsyncGenerator<ConvertEvent, void> {
  expectDense(model, namesIn(model, plan.layers));
  const init = expectInit(options.init ?? "svd", plan.structure);
  if (init === "search" && "widths" in plan.asked) {
    throw new EngineError(
      `init search determines widths, but the plan has widths "${plan.asked.widths}"`,
      "choose one",
    );
  }
  const { ranks, signal } = options;
  const done = new Map<string, ConvertedLayer>();
  const kept = options.finished && new Keeper(options.finished.with(settingsOf(plan, { ...options, init })));
  const whitening = new SharedWhitening(options.whitening ?? "cholesky");
  const work = { ...options, plan, init, kept, sharedWhitening: whitening, done };
  const of = plan.layers.length;
  try {
    for (const group of groupsOf(plan.layers, options)) {
      takeApart(model, group);
      const names = await finishedNames(model, group, { kept, ranks, signal });
      const left = group.filter(({ name }) => !names.has(name));
      // Restored layers could change the Σ of others, which is computed before.
      if (left.length > 0) yield { kind: "group", names: left.map(({ name }) => name) };
      const known = group.filter(({ name }) => names.has(name));
      for await (const layer of restored(model, known, kept)) {
        yield { kind: "restored", layer, index: done.size, of };
        done.set(layer.name, layer);
      }
      const share = dealt(left, ranks);
      yield* shared("a conversion", convertAll(model, share.own, work), { ranks, signal });
      for await (const layer of restored(model, share.others, kept)) {
        done.set(layer.name, layer);
        yield { kind: "replaced", layer };
      }
    }
  } finally {
    whitening.release();
  }
  const layers = plan.layers.map(({ name }) => done.get(name) as ConvertedLayer);
  yield {
    kind: "converted",
    structure: plan.structure,
    init,
    layers,
    totals: { ...totalsOf(layers, plan.totals.budget), allowed: plan.totals.allowed },
    counts: countsWith(model, Object.fromEntries(layers.map(({ name, cost }) => [name, cost]))),
  };
}

/** What the result depends on besides weights and covariances. */
function settingsOf(
  plan: ConversionPlan,
  { init, locations, seed, searchSteps, quantum, blockRank, stableBlocks, whitening }: ConvertOptions,
): object {
  const layers = plan.layers.map(({ name, structure, allowed, cost, sizes }) => [
    ...[name, structure, allowed, cost],
    ...(sizes ? [sizes] : []),
  ]);
  const search = { searchSteps, quantum, blockRank, stableBlocks };
  return { asked: plan.asked, layers, init, locations, seed, ...search, whitening };
}

/** The layers of the plan in their groups. With several processes, large groups are cut. */
function groupsOf(layers: readonly PlannedLayer[], { groups, ranks }: ConvertOptions): readonly PlannedLayer[][] {
  const named = new Map(layers.map((layer) => [layer.name, layer]));
  const all = groups ?? [layers.map(({ name }) => name)];
  const found = all.map((names) => names.map((name) => named.get(name) as PlannedLayer));
  return ranks ? found.flatMap((group) => cut(group, ranks.size)) : found;
}

interface Work extends LayerOptions {
  kept: Keeper | undefined;
  sharedWhitening: SharedWhitening;
  /** the layers that are converted, by name */
  done: Map<string, ConvertedLayer>;
}

/** Converts layers one after the other. @returns their number */
async function* convertAll(
  model: Model,
  layers: readonly PlannedLayer[],
  work: Work,
): AsyncGenerator<ConvertEvent, number> {
  const { plan, signal, covariances, kept, sharedWhitening, done } = work;
  const of = plan.layers.length;
  for (const layer of layers) {
    signal?.throwIfAborted();
    yield { kind: "layer", name: layer.name, index: done.size, of };
    sharedWhitening.use(covariances?.get(layer.name));
    const converted = yield* convertLayer(model, layer, work);
    done.set(layer.name, converted);
    await kept?.keep(model, converted);
    // The dense weight's memory is of no use to the factors, whose sizes are others.
    releaseMemory();
    yield { kind: "replaced", layer: converted };
    await eventLoopTurn();
  }
  return layers.length;
}

/** Options of the conversion of one layer. */
interface LayerOptions extends ConvertOptions {
  plan: ConversionPlan;
  init: Init;
}

/** Fits the structure to a layer's matrix and replaces the layer. */
async function* convertLayer(
  model: Model,
  layer: PlannedLayer,
  {
    plan,
    init,
    covariances,
    corrections,
    locations,
    signal,
    quantum,
    blockRank,
    stableBlocks,
    seed = 0,
    searchSteps = 1000,
    ...options
  }: LayerOptions,
): AsyncGenerator<SearchProgress, ConvertedLayer> {
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  const covariance = covariances?.get(layer.name);
  if (isDense(layer.structure)) {
    const error = await refitted(model, layer, corrections?.get(layer.name));
    return { ...layer, by: init, error, ...(covariances && { outputError: 0 }), seconds: seconds() };
  }
  const structure = structureNamed(layer.structure).forLayer(layer, model.masks);
  const widths = "widths" in plan.asked ? plan.asked.widths : undefined;
  const weight = denseWeight(model, layer.name);
  const correction = corrections?.get(layer.name);
  const target = targetOf(weight, correction);
  // Triples that the plan could not keep are computed once more, and kept until the layer is converted. Those of the
  // plan are of the weight.
  const decompositions = correction ? undefined : options.decompositions;
  const known = decompositions?.triplesOf(layer.name) ? decompositions : new Decompositions();
  try {
    const importance = options.importances?.get(layer.name);
    const search = { searchSteps, quantum, blockRank, stableBlocks };
    const start = { structure, layer, covariance, importance, ...search, seed, signal };
    const rules = { ...(widths !== undefined && { widths }), ...(locations !== undefined && { locations }) };
    // A search by entries compares its result with initialization `svd`; both use the same triples.
    if (init === "search" && !covariance) await known.singularValues(layer.name, target);
    const triples = known.triplesOf(layer.name);
    const begun = { ...start, ...rules, triples };
    const { parameters, by, tiles, ...nested } = layer.sizes
      ? yield* startNested(target, init, { ...begun, allowed: layer.sizes })
      : ((yield* startLayer(target, init, begun)) as StartedLayer & Partial<NestedLayer>);
    const approximation = structure.dense(parameters);
    const { error } = await layerErrors(weight, approximation);
    const { outputError } = await layerErrors(target, approximation, covariance);
    approximation.dispose();
    const cost = nested.cost ?? (await structure.cost(parameters));
    replaceLayer(model, layer.name, structure, parameters);
    const errors = { error, ...(outputError !== undefined && { outputError }) };
    const parts = { ...(tiles && { tiles }), ...(nested.ranks && { ranks: nested.ranks }) };
    return { ...layer, cost, by, ...errors, ...parts, seconds: seconds() };
  } catch (error) {
    // Errors about a matrix do not name its layer.
    throw error instanceof ShapeError ? new ShapeError(`${layer.name}: ${error.message}`, { cause: error }) : error;
  } finally {
    known.forget(layer.name);
    target.dispose();
    weight.dispose();
  }
}

/** Replaces the weight of a layer that stays dense by its target. @returns ‖W − T‖ / ‖W‖ */
async function refitted(model: Model, { name }: PlannedLayer, correction: Tensor2D | undefined): Promise<number> {
  if (!correction) return 0;
  const weight = denseWeight(model, name);
  const target = targetOf(weight, correction);
  const { error } = await layerErrors(weight, target);
  weight.dispose();
  replaceLayer(model, name, dense, { weight: target });
  return error;
}

/** Initial parameters for one matrix, float32 (n_out, n_in). */
async function* startLayer(
  weight: Tensor2D,
  init: Init,
  options: StartOptions,
): AsyncGenerator<SearchProgress, StartedLayer> {
  const { structure, layer, widths, locations, seed, triples } = options;
  const start = structure.starts?.[init];
  if (start) return yield* start(weight, options);
  const rules = {
    ...(widths && { widths }),
    ...(locations && { locations }),
    ...(seed !== undefined && { seed }),
    triples,
  };
  return { parameters: await structure.fromDense(weight, layer.allowed / (layer.nIn * layer.nOut), rules), by: init };
}

/** Initial parameters for one matrix at several sizes. */
function startNested(
  weight: Tensor2D,
  init: Init,
  options: StartOptions & { allowed: readonly number[] },
): AsyncGenerator<SearchProgress, NestedLayer> {
  const start = options.structure.nested?.[init];
  if (start) return start(weight, { ...options, init });
  const able = Object.keys(options.structure.nested ?? {}).join(" or ");
  throw new EngineError(`init ${init} of ${options.structure.name} is for one size`, `use init ${able}`);
}

/**
 * Checks the name of an initialization. All structures have `svd`; others list theirs.
 * @throws EngineError when there is no such initialization, or the structure does not have it
 */
export function expectInit(init: string, structure: string): Init {
  const known = INITS.find((name) => name === init);
  if (known === undefined) {
    throw new EngineError(`there is no init "${init}"; available: ${INITS.join(", ")}`, "use one of these");
  }
  const isPlain = INITS.indexOf(known) === 0;
  if (isPlain || structureNamed(structure).starts?.[known]) return known;
  const able = structures().flatMap(({ name, starts }) => (starts?.[known] ? [name] : []));
  throw new EngineError(`init ${init} is for ${able.join(" and ")}, the structure is ${structure}`, "use init svd");
}
