// Plans a conversion: which layers, what each may cost, what they and the model will cost then. Looks at weights only
// where the budget is shared out by singular values. Changes nothing; convert.ts does.

import type { Tensor2D } from "@tensorflow/tfjs-core";
import { EngineError } from "../engine/core/errors.ts";
import { type ConvolutionInfo, countsWith, type LayerInfo, positionLayers, rowsOf } from "../models/index.ts";
import type { Model } from "../models/model.ts";
import type { MatrixSize } from "../structures/budget.ts";
import { gblrStructure } from "../structures/gblr.ts";
import { structureNamed } from "../structures/registry.ts";
import type { Structure } from "../structures/structure.ts";
import { expectConvolution, tuckerStructure } from "../structures/tucker-structure.ts";
import { type LayerToPlan, shareGlobally, shareUniformly } from "./allocate.ts";
import { expectShare, shareOfFlops } from "./budget-share.ts";
import {
  type Allocation,
  type ConversionPlan,
  type Convolutions,
  type PlannedLayer,
  totalsOf,
} from "./conversion-plan.ts";
import { Decompositions } from "./decompositions.ts";
import { chooseLayers } from "./layer-pattern.ts";

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
  /** `recipe`: those of the published settings; else patterns of names, see layer-pattern.ts. Default `recipe` */
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
  const asked = askedFor(options);
  const chosen = asSeen(layersToConvert(model, options.layers), { ...options, convolutions });
  const structureOf = (layer: LayerToPlan) => structureFor(model, options.structure, layer);
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
    return finished(layers.map((layer) => ({ ...layer, structure: "gblr", ...byRule(layer, widths) })));
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
 * @param names of layers, also of positions of convolutions that are whole; default all
 * @throws EngineError when one of them is structured
 */
export function expectDense(model: Model, names: Iterable<string> = model.layers.keys()): void {
  const layers = Array.from(names, (name) => model.layers.get(name) ?? model.layer(name.replace(/\.\d+$/, "")));
  const done = layers.find(({ structure }) => structure.name !== "dense");
  if (!done) return;
  throw new EngineError(
    `the model is compressed already: ${done.name} is ${done.structure.name === "packed" ? "gblr" : done.structure.name}`,
    "export it to dense first, `gblr export --to dense`",
  );
}

/**
 * GBLR layers of one model share its masks' settings; Tucker-2 knows its kernel.
 * @throws EngineError when there is no such structure, or it is none for this layer
 */
export function structureFor(
  model: Model,
  name: string,
  layer: { name: string; convolution?: ConvolutionInfo },
): Structure {
  if (name === "tucker") return tuckerStructure(expectConvolution(layer));
  return name === "gblr" ? gblrStructure(model.masks) : structureNamed(name);
}

/** As the model has them: of a position its convolution while that is whole. */
export const namesIn = (model: Model, layers: readonly Pick<PlannedLayer, "name" | "position">[]): string[] => [
  ...new Set(layers.map(({ name, position }) => (position && model.layers.has(position.of) ? position.of : name))),
];

/** @throws EngineError when there are no convolutions to take apart, or nothing is gained by it */
function asSeen(
  layers: readonly LayerInfo[],
  { convolutions, structure }: { convolutions: Convolutions; structure: string },
): LayerInfo[] {
  if (convolutions === "integrated") return [...layers];
  if (structure === "tucker") throw new EngineError("tucker is of whole kernels, not per kernel", "choose one");
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
  { nIn, nOut, dense }: MatrixSize & { dense: number },
  widths: string,
): { allowed: number; cost: number } {
  const everything = (Math.min(nIn, nOut) * (nIn + nOut)) / dense;
  const cost = gblrStructure().costWithin({ nIn, nOut }, everything, { widths });
  return { allowed: cost, cost };
}

function askedFor({ structure, budget, flops, widths, allocation }: PlanOptions): ConversionPlan["asked"] {
  const given = Object.entries({ budget, flops, widths }).filter(([, value]) => value !== undefined);
  if (given.length !== 1) {
    const names = given.map(([name]) => name).join(" and ") || "none of them";
    throw new EngineError(`a conversion takes one of budget, flops and widths, got ${names}`, "choose one");
  }
  if (structure === "tucker" && allocation === "global") {
    throw new EngineError("tucker's two ranks are no rank to allocate over layers", "use uniform allocation");
  }
  if (widths === undefined) return flops === undefined ? { budget: budget as number } : { flops };
  if (structure !== "gblr") {
    throw new EngineError(`widths are of GBLR layers, the structure is ${structure}`, "give a budget or flops instead");
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
