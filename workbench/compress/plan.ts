// Plans a conversion: chooses layers, their structures and their share of the budget, and computes the resulting cost
// of layers and model. A plan is plain data; convert.ts executes it. Weights are read only by the `global` allocation.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import { namesOf } from "../architectures/architecture.ts";
import type { Counts } from "../architectures/count.ts";
import { EngineError } from "../engine/core/errors.ts";
import {
  type ConvolutionInfo,
  countsWith,
  type LayerInfo,
  positionLayers,
  rowsOf,
  splitConvolution,
} from "../models/index.ts";
import type { Model } from "../models/model.ts";
import type { MatrixSize } from "../structures/budget.ts";
import { structureNamed, structures } from "../structures/registry.ts";
import type { Init, Structure, StructureKind } from "../structures/structure.ts";
import { expectShare, type LayerToPlan, shareByLoss, shareGlobally, shareOfFlops, shareUniformly } from "./allocate.ts";
import { Decompositions } from "./decompositions.ts";

/**
 * `uniform` gives each layer the same share of the budget; `global` allocates it by singular values, and `loss` by the
 * predicted increase of the loss.
 */
export const ALLOCATIONS = ["uniform", "global", "loss"] as const;
/** How a budget is shared among layers. */
export type Allocation = (typeof ALLOCATIONS)[number];

/** `integrated`: one matrix for the patches under the kernel; `per-kernel`: one matrix per position of the kernel. */
export const CONVOLUTIONS = ["integrated", "per-kernel"] as const;
/** Whether a convolution becomes one matrix or one for each kernel position. */
export type Convolutions = (typeof CONVOLUTIONS)[number];

/** The plan of one layer. */
export interface PlannedLayer {
  /** name in the checkpoint, without `.weight` */
  name: string;
  nIn: number;
  nOut: number;
  /** for a convolution that is one matrix; its n_in is rows · columns · channels */
  convolution?: ConvolutionInfo;
  /** for one position of a convolution's kernel */
  position?: NonNullable<LayerInfo["position"]>;
  /** new structure; `dense` if factors would cost as much as the matrix, so that the layer is not changed */
  structure: string;
  /** rows that go through the layer in one pass of the model, by the count that the budget refers to */
  rows: number;
  /** multiply-adds per row of the dense layer, n_in · n_out */
  dense: number;
  /** allowed multiply-adds per row */
  allowed: number;
  /** planned multiply-adds per row; the result of a search may cost less */
  cost: number;
  /** for a model of several sizes: allowed multiply-adds per row at each size, which do not fall */
  sizes?: readonly number[];
}

/** Totals over all layers of a plan, in multiply-adds of one pass of the model. */
export interface PlanTotals {
  dense: number;
  /** allowed by the budget for all layers together; the allowances of single layers are rounded */
  allowed: number;
  cost: number;
  /** allowed / dense */
  budget: number;
  /** cost / dense */
  share: number;
}

/** What a conversion will do: structure and cost of each layer, and totals. */
export interface ConversionPlan {
  structure: string;
  allocation: Allocation;
  convolutions: Convolutions;
  /** the request: exactly one of the three, see `PlanOptions` */
  asked: { budget: number } | { flops: number } | { widths: string };
  layers: PlannedLayer[];
  totals: PlanTotals;
  /** multiply-adds of the whole model by both counts */
  counts: { before: Counts; after: Counts };
  /** the sizes to which the model can be cut, as shares, the smallest first; all else is planned for the largest one */
  sizes?: readonly number[];
}

/** Options of `planConversion`. Exactly one of `budget`, `flops` and `widths` limits the cost of the layers. */
export interface PlanOptions {
  /** name of the structure */
  structure: string;
  /** share of the converted layers' dense multiply-adds, above 0 and at most 1 */
  budget?: number;
  /**
   * sizes to which the model can be cut, shares of the converted layers' dense multiply-adds, the smallest first. They
   * take the place of `budget`. No layer stays dense
   */
  sizes?: readonly number[] | undefined;
  /** maximum relative FLOPs of the whole model by the reference count, e.g. 0.4375 */
  flops?: number;
  /** GBLR only: rule for initial widths, as in published settings, e.g. `lr0.25` */
  widths?: string;
  /** `recipe` for the layers of the published settings, or patterns of names, see `chooseLayers`. Default `recipe` */
  layers?: string | readonly string[];
  /**
   * `uniform`: the same share for each layer; `global`: by singular values, such that the largest relative error over
   * all layers is minimal; `loss`: by `energies`, such that the predicted increase of the loss is minimal. Default
   * `uniform`
   */
  allocation?: Allocation;
  /** one matrix per convolution, or per position of the kernel. Default `integrated` */
  convolutions?: Convolutions;
  /** Σ (n_in, n_in) of inputs by layer name. If given, `global` allocates by output errors */
  covariances?: ReadonlyMap<string, Tensor2D>;
  /**
   * the initialization that follows an allocation by outputs or by the loss. The structure may need less for a rank
   * then. Default: a rank costs two factors
   */
  init?: Init | undefined;
  /** `loss`: predicted increases of the loss by layer name, one for each singular triple, see loss-spectrum.ts */
  energies?: ReadonlyMap<string, ArrayLike<number>>;
  /** stores decompositions of `global` for the conversion. Default: they are not kept */
  decompositions?: Decompositions | undefined;
}

/**
 * Plans a conversion from sizes alone, or, with the `global` allocation, from the weights of a dense model.
 * @throws EngineError when options contradict each other, no layer matches, or the budget is too small for a layer
 */
export async function planConversion(model: Model, { sizes, ...options }: PlanOptions): Promise<ConversionPlan> {
  if (!sizes) return planOfSize(model, options);
  expectNested(structureNamed(options.structure));
  const plans: ConversionPlan[] = [];
  for (const budget of sizes) plans.push(await planOfSize(model, { ...options, budget, mayStay: false }));
  const largest = plans.at(-1);
  if (!largest) throw new EngineError("a model of several sizes has no size", "give at least one");
  const layers = largest.layers.map((layer, i) => {
    // Rounding may give a layer slightly less at a larger size.
    const allowed = plans.map((plan) => (plan.layers[i] as PlannedLayer).allowed);
    return { ...layer, sizes: allowed.map((_, j) => Math.min(...allowed.slice(j))) };
  });
  return { ...largest, layers, sizes };
}

/** @throws EngineError when the structure cannot hold a matrix at several sizes */
function expectNested({ name, nested }: StructureKind): void {
  if (nested) return;
  const able = structures().flatMap((each) => (each.nested ? [each.name] : []));
  throw new EngineError(`${name} cannot be made for several sizes`, `use ${able.join(" or ")}`);
}

async function planOfSize(
  model: Model,
  options: Omit<PlanOptions, "sizes"> & { mayStay?: boolean },
): Promise<ConversionPlan> {
  const { allocation = "uniform", convolutions = "integrated", init, covariances, energies } = options;
  const structure = structureNamed(options.structure);
  const asked = askedFor(structure, options);
  const chosen = splitForPlan(layersToConvert(model, options.layers), { kind: structure, convolutions });
  const structureOf = (layer: LayerToPlan) => structure.forLayer(layer, model.masks);
  const kind = "flops" in asked ? "reference" : "actual";
  const layers = chosen.map((layer) => {
    const { name, nIn, nOut, convolution, position } = layer;
    const place = { ...(convolution && { convolution }), ...(position && { position }) };
    return { name, nIn, nOut, ...place, dense: nIn * nOut, rows: rowsOf(layer, kind) };
  });
  const costs = (planned: PlannedLayer[]) => Object.fromEntries(planned.map(({ name, cost }) => [name, cost]));
  const finished = (planned: PlannedLayer[], budget?: number): ConversionPlan => ({
    structure: options.structure,
    allocation,
    convolutions,
    asked,
    layers: planned,
    totals: totalsOf(planned, budget),
    counts: {
      before: countsWith(model, {}),
      after: countsWith(model, costs(planned)),
    },
  });
  if ("widths" in asked) {
    const { widths } = asked;
    return finished(
      layers.map((layer) => ({ ...layer, structure: structure.name, ...byRule(structureOf(layer), layer, widths) })),
    );
  }
  const budget = "flops" in asked ? shareOfFlops(model, chosen, asked.flops) : expectShare(asked.budget);
  const rankCost = init && structure.rankCosts?.[init];
  const shared = { structure: structureOf, layers, budget, rankCost, mayStay: options.mayStay };
  if (allocation !== "uniform") expectDense(model, namesIn(model, layers));
  if (allocation === "uniform") return finished(shareUniformly(shared), budget);
  if (allocation === "loss") return finished(shareByLoss({ ...shared, energies: energies ?? new Map() }), budget);
  const decompositions = options.decompositions ?? new Decompositions();
  try {
    return finished(await shareGlobally(model, { ...shared, covariances, decompositions }), budget);
  } finally {
    if (!options.decompositions) decompositions.dispose();
  }
}

/**
 * Checks that layers are dense, so that they can be converted.
 * @param names of layers, or of positions of whole convolutions. Default all layers
 * @throws EngineError when one of them is structured
 */
export function expectDense(model: Model, names: Iterable<string> = model.layers.keys()): void {
  const layers = Array.from(names, (name) => model.layers.get(name) ?? model.layer(name.replace(/\.\d+$/, "")));
  const done = layers.find(({ structure }) => !structure.isDense);
  if (!done) return;
  throw new EngineError(
    `the model is compressed already: ${done.name} is ${done.structure.stored.name}`,
    "export it to dense first, `gblr export --to dense`",
  );
}

/** The names of these layers in the model. While a convolution is whole, its name stands for its positions. */
export const namesIn = (model: Model, layers: readonly Pick<PlannedLayer, "name" | "position">[]): string[] => [
  ...new Set(layers.map(({ name, position }) => (position && model.layers.has(position.of) ? position.of : name))),
];

/**
 * The layers as the plan converts them, with convolutions split into positions if requested.
 * @throws EngineError when positions are requested but there are no convolutions, or the structure needs whole kernels
 */
function splitForPlan(
  layers: readonly LayerInfo[],
  { convolutions, kind }: { convolutions: Convolutions; kind: StructureKind },
): LayerInfo[] {
  if (convolutions === "integrated") return [...layers];
  if (kind.needsConvolution)
    throw new EngineError(`${kind.name} needs whole kernels and cannot be per kernel`, "choose one");
  if (!layers.some(({ convolution, position }) => convolution ?? position)) {
    throw new EngineError("per kernel is for convolutions, but none of these layers is one", "leave it out");
  }
  return layers.flatMap((layer) => {
    const positions = positionLayers(layer);
    return positions.length > 1 ? positions : [layer];
  });
}

/** Cost of a rule's widths. The allowed cost equals it, because no budget was requested. */
function byRule(
  structure: Structure<{ widths?: string }>,
  { nIn, nOut, dense }: MatrixSize & { dense: number },
  widths: string,
): { allowed: number; cost: number } {
  const everything = (Math.min(nIn, nOut) * (nIn + nOut)) / dense;
  const cost = structure.costWithin({ nIn, nOut }, everything, { widths });
  return { allowed: cost, cost };
}

/**
 * The one of budget, FLOPs and widths that was requested.
 * @throws EngineError when there is not exactly one, or options contradict each other
 */
function askedFor(
  { name, hasRank = true, hasWidths }: StructureKind,
  { budget, flops, widths, allocation }: PlanOptions,
): ConversionPlan["asked"] {
  const given = Object.entries({ budget, flops, widths }).filter(([, value]) => value !== undefined);
  if (given.length !== 1) {
    const names = given.map(([name]) => name).join(" and ") || "none of them";
    throw new EngineError(`a conversion takes one of budget, flops and widths, got ${names}`, "choose one");
  }
  const isUniform = allocation === undefined || allocation === "uniform";
  if (!hasRank && !isUniform) {
    throw new EngineError(`${name} has no rank that could be allocated`, "use uniform allocation");
  }
  if (widths === undefined) return flops === undefined ? { budget: budget as number } : { flops };
  if (!hasWidths) {
    throw new EngineError(`widths are for GBLR layers, the structure is ${name}`, "use a budget or flops instead");
  }
  if (!isUniform) {
    throw new EngineError(
      `widths "${widths}" determine the cost of each layer, so nothing can be allocated`,
      "choose one",
    );
  }
  return { widths };
}

/**
 * The layers that the option `layers` selects, in the order of the model.
 * @throws EngineError when a pattern matches no layer
 */
export function layersToConvert(model: Model, asked: PlanOptions["layers"] = "recipe"): LayerInfo[] {
  const layers = [...model.layers.values()];
  const kind = model.architecture.type;
  const { storedName } = namesOf(model.architecture);
  const storedAs = (name: string) => storedName(name, model.prefix);
  if (asked === "recipe") return layers.filter(({ inRecipe = true }) => inRecipe);
  const patterns = typeof asked === "string" ? [asked] : asked;
  const names = new Set(
    patterns.flatMap((pattern) => chooseLayers(layers, { pattern, model: kind, storedAs }).map(({ name }) => name)),
  );
  return layers.filter(({ name }) => names.has(name));
}

/**
 * Totals over the layers of a plan.
 * @param budget share of the dense multiply-adds. Default: that of the sum of the layers' allowances
 */
export function totalsOf(layers: readonly PlannedLayer[], budget?: number): PlanTotals {
  const sum = (of: "dense" | "allowed" | "cost") => layers.reduce((total, layer) => total + layer.rows * layer[of], 0);
  const [dense, cost] = [sum("dense"), sum("cost")];
  const allowed = budget === undefined ? sum("allowed") : Math.floor(budget * dense * (1 + 1e-12));
  return { dense, allowed, cost, budget: budget ?? allowed / dense, share: cost / dense };
}

const MOST_NAMED = 3;

/**
 * Layers whose name contains the pattern; `*` stands for any characters.
 * @param options.storedAs the name of a layer in checkpoints, as `gblr inspect` prints it, which may be given as well
 * @throws EngineError when no layer matches; the message lists some of the layers
 */
export function chooseLayers<L extends { name: string }>(
  layers: readonly L[],
  { pattern, model, storedAs = (name) => name }: { pattern: string; model: string; storedAs?(name: string): string },
): L[] {
  const parts = pattern.split("*").map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"));
  const expression = new RegExp(parts.join(".*"), "s");
  const chosen = layers.filter(({ name }) => expression.test(name) || expression.test(storedAs(name)));
  if (chosen.length === 0) {
    const some = layers.slice(0, MOST_NAMED).map(({ name }) => name);
    const names = some.join(", ") + (layers.length > MOST_NAMED ? ", …" : "");
    throw new EngineError(`no layer of ${model} has "${pattern}" in its name`, `layers: ${names || "none"}`);
  }
  return chosen;
}

/**
 * Splits convolutions into their kernel positions where the plan has positions. Must be called before calibration for
 * such a plan; `convert` does it itself.
 */
export function takeApart(model: Model, layers: readonly PlannedLayer[]): void {
  for (const { position } of layers) {
    if (position && model.layers.has(position.of)) splitConvolution(model, position.of);
  }
}
