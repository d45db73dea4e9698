// Plans a conversion: which layers, into what, what each may cost, and what they and the model will cost then. A plan is
// plain data. Looks at weights only where the budget is shared out by singular values. Changes nothing; convert.ts does.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import type { Counts } from "../architectures/count.ts";
import { EngineError } from "../engine/core/errors.ts";
import { type ConvolutionInfo, countsWith, type LayerInfo, positionLayers, rowsOf } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import type { MatrixSize } from "../structures/budget.ts";
import { structureNamed } from "../structures/registry.ts";
import type { Structure, StructureKind } from "../structures/structure.ts";
import { expectShare, type LayerToPlan, shareGlobally, shareOfFlops, shareUniformly } from "./allocate.ts";
import { Decompositions } from "./decompositions.ts";

/** How the budget is shared out: the same share for each layer, or by their singular values. */
export const ALLOCATIONS = ["uniform", "global"] as const;
/** How a budget is shared among layers. */
export type Allocation = (typeof ALLOCATIONS)[number];

/** A convolution as one matrix of the patches under its kernel, or as one matrix for each position of it. */
export const CONVOLUTIONS = ["integrated", "per-kernel"] as const;
/** Whether a convolution becomes one matrix or one for each kernel position. */
export type Convolutions = (typeof CONVOLUTIONS)[number];

/** What a plan says of one layer. */
export interface PlannedLayer {
  /** by the checkpoint's name, without `.weight` */
  name: string;
  nIn: number;
  nOut: number;
  /** of a convolution that is one matrix; n_in is rows · columns · channels */
  convolution?: ConvolutionInfo;
  /** of one position of a convolution's kernel */
  position?: NonNullable<LayerInfo["position"]>;
  /** what it becomes; `dense` where factors would cost as much as the matrix: it then stays as it is */
  structure: string;
  /** rows that go through it in one pass of the model, as the count that the budget is about sees it */
  rows: number;
  /** multiply-adds a row before, n_in · n_out */
  dense: number;
  /** multiply-adds a row that it may take */
  allowed: number;
  /** multiply-adds a row that it will take; a search, which decides while it runs, may end below */
  cost: number;
}

/** Of all layers of a plan, in multiply-adds of one pass of the model. */
export interface PlanTotals {
  dense: number;
  /** what the budget allows all layers together; what single ones may take is rounded up and down around it */
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
  /** as it was asked for: exactly one of the three, see PlanOptions */
  asked: { budget: number } | { flops: number } | { widths: string };
  layers: PlannedLayer[];
  totals: PlanTotals;
  /** of the whole model, as the reference counts and as it runs */
  counts: { before: Counts; after: Counts };
}

/** Exactly one of `budget`, `flops` and `widths` says how much the layers may cost. */
export interface PlanOptions {
  /** as the registry names it */
  structure: string;
  /** of the converted layers' dense multiply-adds, above 0 to 1 */
  budget?: number;
  /** relative FLOPs of the whole model as the reference counts them, e.g. 0.4375; never exceeded */
  flops?: number;
  /** GBLR only: widths by a rule of gblr/init, as published settings give them, e.g. `lr0.25` */
  widths?: string;
  /** `recipe`: those of the published settings; else patterns of names, see chooseLayers. Default `recipe` */
  layers?: string | readonly string[];
  /**
   * `uniform`: the same share for each layer; `global`: by singular values, for the least largest relative error over
   * all layers. Default `uniform`
   */
  allocation?: Allocation;
  /** how convolutions are seen: as one matrix each, or as one for each position of the kernel. Default `integrated` */
  convolutions?: Convolutions;
  /** Σ (n_in, n_in) of inputs by layer name: `global` then goes by the errors of outputs */
  covariances?: ReadonlyMap<string, Tensor2D>;
  /** keeps what `global` decomposes for the conversion. Default nothing is kept */
  decompositions?: Decompositions | undefined;
}

/**
 * Sizes alone decide, unless the allocation is `global`: then the model must be dense.
 * @throws EngineError when options contradict, no layer matches, or the budget does not pay for one of them
 */
export async function planConversion(model: Model, options: PlanOptions): Promise<ConversionPlan> {
  const { allocation = "uniform", convolutions = "integrated", covariances } = options;
  const structure = structureNamed(options.structure);
  const asked = askedFor(structure, options);
  const chosen = asSeen(layersToConvert(model, options.layers), { kind: structure, convolutions });
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
  const shared = { structure: structureOf, layers, budget };
  if (allocation === "global") expectDense(model, namesIn(model, layers));
  if (allocation === "uniform") return finished(shareUniformly(shared), budget);
  const decompositions = options.decompositions ?? new Decompositions();
  try {
    return finished(await shareGlobally(model, { ...shared, covariances, decompositions }), budget);
  } finally {
    if (!options.decompositions) decompositions.dispose();
  }
}

/**
 * Checks that layers are dense, so that they can be converted.
 * @param names of layers, also of positions of convolutions that are whole; default all
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

/** As the model has them: of a position its convolution while that is whole. */
export const namesIn = (model: Model, layers: readonly Pick<PlannedLayer, "name" | "position">[]): string[] => [
  ...new Set(layers.map(({ name, position }) => (position && model.layers.has(position.of) ? position.of : name))),
];

/** @throws EngineError when there are no convolutions to take apart, or nothing is gained by it */
function asSeen(
  layers: readonly LayerInfo[],
  { convolutions, kind }: { convolutions: Convolutions; kind: StructureKind },
): LayerInfo[] {
  if (convolutions === "integrated") return [...layers];
  if (kind.needsConvolution) throw new EngineError(`${kind.name} is of whole kernels, not per kernel`, "choose one");
  if (!layers.some(({ convolution, position }) => convolution ?? position)) {
    throw new EngineError("per kernel is for convolutions, none is among these layers", "leave it out");
  }
  return layers.flatMap((layer) => {
    const positions = positionLayers(layer);
    return positions.length > 1 ? positions : [layer];
  });
}

/** What a rule costs is what it may cost: nobody asked for less. */
function byRule(
  structure: Structure<{ widths?: string }>,
  { nIn, nOut, dense }: MatrixSize & { dense: number },
  widths: string,
): { allowed: number; cost: number } {
  const everything = (Math.min(nIn, nOut) * (nIn + nOut)) / dense;
  const cost = structure.costWithin({ nIn, nOut }, everything, { widths });
  return { allowed: cost, cost };
}

function askedFor(
  { name, hasRank = true, hasWidths }: StructureKind,
  { budget, flops, widths, allocation }: PlanOptions,
): ConversionPlan["asked"] {
  const given = Object.entries({ budget, flops, widths }).filter(([, value]) => value !== undefined);
  if (given.length !== 1) {
    const names = given.map(([name]) => name).join(" and ") || "none of them";
    throw new EngineError(`a conversion takes one of budget, flops and widths, got ${names}`, "choose one");
  }
  if (!hasRank && allocation === "global") {
    throw new EngineError(`${name} has no rank to allocate over layers`, "use uniform allocation");
  }
  if (widths === undefined) return flops === undefined ? { budget: budget as number } : { flops };
  if (!hasWidths) {
    throw new EngineError(`widths are of GBLR layers, the structure is ${name}`, "give a budget or flops instead");
  }
  if (allocation === "global") {
    throw new EngineError(`widths "${widths}" say what each layer costs, nothing is left to allocate`, "choose one");
  }
  return { widths };
}

function layersToConvert(model: Model, asked: PlanOptions["layers"] = "recipe"): LayerInfo[] {
  const layers = [...model.layers.values()];
  const kind = model.architecture.type;
  if (asked === "recipe") return layers.filter(({ inRecipe = true }) => inRecipe);
  const patterns = typeof asked === "string" ? [asked] : asked;
  const names = new Set(
    patterns.flatMap((pattern) => chooseLayers(layers, { pattern, model: kind }).map(({ name }) => name)),
  );
  return layers.filter(({ name }) => names.has(name));
}

/** @param budget of the dense multiply-adds; default what the layers' own allowances make together */
export function totalsOf(layers: readonly PlannedLayer[], budget?: number): PlanTotals {
  const sum = (of: "dense" | "allowed" | "cost") => layers.reduce((total, layer) => total + layer.rows * layer[of], 0);
  const [dense, cost] = [sum("dense"), sum("cost")];
  const allowed = budget === undefined ? sum("allowed") : Math.floor(budget * dense * (1 + 1e-12));
  return { dense, allowed, cost, budget: budget ?? allowed / dense, share: cost / dense };
}

const MOST_NAMED = 3;

/**
 * Layers whose name contains the pattern; `*` stands for any characters.
 * @throws EngineError when there is none, naming some that there are
 */
export function chooseLayers<L extends { name: string }>(
  layers: readonly L[],
  { pattern, model }: { pattern: string; model: string },
): L[] {
  const parts = pattern.split("*").map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"));
  const expression = new RegExp(parts.join(".*"), "s");
  const chosen = layers.filter(({ name }) => expression.test(name));
  if (chosen.length === 0) {
    const some = layers.slice(0, MOST_NAMED).map(({ name }) => name);
    const names = some.join(", ") + (layers.length > MOST_NAMED ? ", …" : "");
    throw new EngineError(
      `no layer of ${model} has "${pattern}" in its name`,
      `there is ${names || "no layer at all"}`,
    );
  }
  return chosen;
}
