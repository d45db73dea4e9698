// The plan stage of an experiment: determines the structure and the cost of each layer of a variant, at the start and
// at the end of its training.

import { type ConversionPlan, expectDense, planConversion, totalsOf } from "../compress/index.ts";
import type { Model } from "../models/index.ts";
import { gblr } from "../structures/gblr.ts";
import { structureNamed } from "../structures/registry.ts";
import type { PlanRequest } from "./convert.ts";
import type { ExperimentSettings } from "./settings.ts";
import { SettingsError } from "./stage.ts";
import { settingsOf, type Variant } from "./variants.ts";

/** The plans of a variant at the start and at the end of its training. */
export interface VariantPlan {
  /** plan that the conversion carries out */
  start: ConversionPlan;
  /** plan with the cost at the end of the training */
  end: ConversionPlan;
}

/**
 * Plans a variant. The start and the end differ if a shrink rule changes the cost: from --start-cost to the budget, or
 * to a mean width of --target.
 * @throws EngineError if the budget cannot be met
 */
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

/**
 * The cost at the end of the training of the layers that the plan converts, relative to their dense cost. Layers that
 * stay dense are a part of the budget, but no shrink rule can change them.
 * @throws SettingsError if the layers that stay dense take the whole budget
 */
export function targetOf({ start, end }: VariantPlan): number {
  const changed = totalsOf(start.layers.filter(({ structure }) => !structureNamed(structure).isDense));
  if (changed.dense === 0) return end.totals.share;
  const left = end.totals.cost - (start.totals.dense - changed.dense);
  if (left > 0) return left / changed.dense;
  throw new SettingsError(
    "layers that stay dense at --start-cost take the whole budget; give a lower --start-cost or --allocate uniform",
  );
}

/**
 * Plans a variant at the cost that the settings give. All variants get the same cost. If the settings give neither a
 * budget nor FLOPs, it is the cost of GBLR layers with the rule for initial widths.
 */
async function planAt(
  model: Model,
  { structure }: Variant,
  { settings, allocation, init, covariances, energies, decompositions }: PlanRequest & { settings: ExperimentSettings },
): Promise<ConversionPlan> {
  const kind = structureNamed(structure);
  const { layers, convolutions } = settings;
  const cost = askedCost(settings);
  // Tucker-2 converts whole kernels, even if the other variants convert each kernel position.
  const how = {
    layers,
    init,
    convolutions: kind.needsConvolution ? ("integrated" as const) : convolutions,
    ...(covariances && { covariances }),
    ...(energies && { energies }),
    ...(decompositions && { decompositions }),
  };
  if (!("widths" in cost)) return planConversion(model, { structure, allocation, ...how, ...cost });
  const published = await planConversion(model, { structure: gblr.name, layers, convolutions, ...cost });
  if (kind.hasWidths) return published;
  const flops = published.counts.after.reference.relative;
  return planConversion(model, { structure, allocation, ...how, flops });
}

/**
 * Checks, before any work, that the budget suffices for each layer, that patterns match layers, and that these layers
 * are dense.
 * @throws EngineError if one of these conditions is not met
 */
export async function expectPlans(
  model: Model,
  variants: readonly Variant[],
  settings: ExperimentSettings,
): Promise<void> {
  for (const variant of variants.filter(({ converts }) => converts)) {
    // Both allocations need the same minimum budget, so the faster uniform one is used.
    const { end } = await planVariant(model, variant, {
      settings: settingsOf(variant, settings),
      allocation: "uniform",
    });
    expectDense(
      model,
      end.layers.map(({ name }) => name),
    );
  }
}

/** The cost in the settings: a budget, FLOPs, or the rule for initial widths. */
export function askedCost({
  budget,
  flops,
  widths,
}: ExperimentSettings): { budget: number } | { flops: number } | { widths: string } {
  if (budget !== undefined) return { budget };
  return flops === undefined ? { widths } : { flops };
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
