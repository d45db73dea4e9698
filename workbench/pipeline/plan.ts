// The plan stage of an experiment: what a variant may cost, layer by layer, at its start and at its end.

import { type ConversionPlan, expectDense, planConversion } from "../compress/index.ts";
import type { Model } from "../models/index.ts";
import { gblr } from "../structures/gblr.ts";
import { structureNamed } from "../structures/registry.ts";
import type { PlanRequest } from "./convert.ts";
import type { ExperimentSettings } from "./settings.ts";
import { askedCost } from "./train.ts";
import type { Variant } from "./variants.ts";

export interface VariantPlan {
  /** that the conversion carries out */
  start: ConversionPlan;
  /** that training ends at */
  end: ConversionPlan;
}

/** Budget shrinking may start with more than it ends with; other rules on widths end at a mean width. */
export async function planVariant(
  model: Model,
  variant: Variant,
  { settings, ...request }: PlanRequest & { settings: ExperimentSettings },
): Promise<VariantPlan> {
  const [first, last] = [atStart(settings), atEnd(settings)];
  const end = await planAt(model, variant, { settings: last, ...request });
  const isSame = !structureNamed(variant.structure).hasWidths || first === last;
  return { end, start: isSame ? end : await planAt(model, variant, { settings: first, ...request }) };
}

/** Every variant may cost the same: where neither a budget nor FLOPs are given, what the rule for GBLR's widths costs. */
async function planAt(
  model: Model,
  { structure }: Variant,
  { settings, allocation, covariances, decompositions }: PlanRequest & { settings: ExperimentSettings },
): Promise<ConversionPlan> {
  const kind = structureNamed(structure);
  const { layers, convolutions } = settings;
  const cost = askedCost(settings);
  // Tucker-2 is of whole kernels, also where its rivals are per kernel position.
  const how = {
    layers,
    convolutions: kind.needsConvolution ? ("integrated" as const) : convolutions,
    ...(covariances && { covariances }),
    ...(decompositions && { decompositions }),
  };
  if (!("widths" in cost)) return planConversion(model, { structure, allocation, ...how, ...cost });
  const published = await planConversion(model, { structure: gblr.name, layers, convolutions, ...cost });
  if (kind.hasWidths) return published;
  const flops = published.counts.after.reference.relative;
  return planConversion(model, { structure, allocation, ...how, flops });
}

/**
 * Checks before any work that budgets suffice for every layer, patterns match layers, and layers are dense.
 * @throws EngineError
 */
export async function expectPlans(
  model: Model,
  variants: readonly Variant[],
  settings: ExperimentSettings,
): Promise<void> {
  for (const variant of variants.filter(({ converts }) => converts)) {
    // Singular values decide how the budget is shared, not whether it suffices.
    const { end } = await planVariant(model, variant, { settings, allocation: "uniform" });
    expectDense(
      model,
      end.layers.map(({ name }) => name),
    );
  }
}

function atStart(settings: ExperimentSettings): ExperimentSettings {
  const { flops: _, startCost, ...others } = settings;
  return settings.shrink === "budget" && startCost !== undefined ? { ...others, budget: startCost } : settings;
}

function atEnd(settings: ExperimentSettings): ExperimentSettings {
  const { shrink, target } = settings;
  const moves = shrink !== "none" && shrink !== "budget" && target !== undefined;
  return moves ? { ...settings, widths: `const${target}` } : settings;
}
