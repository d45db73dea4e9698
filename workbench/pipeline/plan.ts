// What a variant of an experiment is to cost, layer by layer, at its start and at its end; and what comes into the layers,
// where that decides. Converting is compress-variant.ts's.

import type { Tensor } from "@tensorflow/tfjs-core";
import {
  type CalibrateEvent,
  type ConversionPlan,
  type Covariances,
  calibrate,
  expectDense,
  planConversion,
  takeApart,
} from "../compress/index.ts";
import type { Model } from "../models/index.ts";
import type { OpenData } from "./domains/domain.ts";
import { loadSource, type Source } from "./fetch.ts";
import type { ExperimentSettings } from "./settings.ts";
import type { ExperimentEvent } from "./stage.ts";
import { lastEvent } from "./stage.ts";
import { askedCost } from "./train.ts";
import type { Variant } from "./variants.ts";

/**
 * What every variant may cost; where nothing else is said, what the rule for GBLR's widths costs.
 * @param covariances of inputs, by which a global allocation goes by what layers do to them
 */
export async function planOf(
  model: Model,
  { structure, allocation }: Variant,
  settings: ExperimentSettings,
  covariances?: Covariances,
): Promise<ConversionPlan> {
  const { layers, convolutions } = settings;
  const cost = askedCost(settings);
  // Tucker-2 is of whole kernels; what else is compared with it may not be.
  const seen = {
    layers,
    convolutions: structure === "tucker" ? ("integrated" as const) : convolutions,
    ...(covariances && { covariances }),
  };
  if (!("widths" in cost)) return planConversion(model, { structure, allocation, ...seen, ...cost });
  const published = await planConversion(model, { structure: "gblr", layers, convolutions, ...cost });
  if (structure === "gblr") return published;
  const flops = published.counts.after.reference.relative;
  return planConversion(model, { structure, allocation, ...seen, flops });
}

/**
 * Budgets that do not pay for a layer, patterns that match none and models that cannot be trained on, found before any
 * work.
 * @throws EngineError, ModelError
 */
export async function expectPlans(
  source: Source,
  variants: readonly Variant[],
  settings: ExperimentSettings,
): Promise<void> {
  const converting = variants.filter(({ converts }) => converts);
  const form = converting.length < variants.length ? "trainable" : "auto";
  const model = await loadSource(source, { form });
  try {
    for (const variant of converting) {
      // Who shares out what takes singular values; whether it is enough does not.
      const uniform = { ...variant, allocation: "uniform" as const };
      const plan = await planOf(model, uniform, atEnd(settings));
      expectDense(
        model,
        plan.layers.map(({ name }) => name),
      );
      if (variant.structure === "gblr") await planOf(model, uniform, atStart(settings));
    }
  } finally {
    model.dispose();
  }
}

/** Budget shrinking may begin with more than it ends with. */
export function atStart(settings: ExperimentSettings): ExperimentSettings {
  const { flops: _, startCost, ...others } = settings;
  return settings.shrink === "budget" && startCost !== undefined ? { ...others, budget: startCost } : settings;
}

/** The other rules end at a mean width, whatever widths they begin with. */
export function atEnd(settings: ExperimentSettings): ExperimentSettings {
  const { shrink, target } = settings;
  const moves = shrink !== "none" && shrink !== "budget" && target !== undefined;
  return moves ? { ...settings, widths: `const${target}` } : settings;
}

interface Watching {
  variant: Variant;
  settings: ExperimentSettings;
  data: OpenData;
}

/** What comes into the layers that are converted. Who gets what of the budget may depend on it, who is converted not. */
export async function* watched(
  model: Model,
  { variant, settings, data }: Watching,
): AsyncGenerator<ExperimentEvent, Covariances> {
  const plan = await planOf(model, { ...variant, allocation: "uniform" }, atEnd(settings));
  const inputs = data.inputs(settings.calibrationSamples, settings.microBatch);
  const layers = plan.layers.map(({ name }) => name);
  takeApart(model, plan.layers);
  const forward = (input: Tensor) => data.forward(model, input);
  const told = (event: CalibrateEvent) => ({ kind: "inner", of: "calibrate", event }) as const;
  return (yield* lastEvent(calibrate(model, inputs, { layers, forward }), "calibrated", told)).covariances;
}
