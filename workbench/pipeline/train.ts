// From settings to what `fit` takes: schedules, the optimizer, the rule on widths. Numbers only; no data and no files.

import type { SigmaSchedule } from "../gblr/schedules.ts";
import {
  adaptiveSoftshrink,
  budgetShrink,
  meanShrink,
  type ShrinkRule,
  softshrink,
  targetedSoftshrink,
} from "../gblr/shrink/index.ts";
import type { Model } from "../models/model.ts";
import { blocksOf, type OptimizerOptions, type Span, summaryOf } from "../train/index.ts";
import type { ExperimentSettings } from "./settings.ts";

export function lengthOf({ epochs, steps }: ExperimentSettings): Span {
  return steps === undefined ? { epochs } : { steps };
}

export function optimizerOf(settings: ExperimentSettings): OptimizerOptions {
  const { learningRate, structureLearningRate, weightDecay, clip, schedule, minimumRate, decayEpochs } = settings;
  return {
    learningRate,
    ...(structureLearningRate !== undefined && { structureLearningRate }),
    weightDecay,
    ...(clip > 0 && { clipNorm: clip }),
    schedule: {
      decay: schedule,
      warmup: warmupOf(settings),
      minimum: minimumRate,
      ...(decayEpochs !== undefined && { end: { epochs: decayEpochs } }),
    },
  };
}

function warmupOf({ warmupEpochs, warmupSteps }: ExperimentSettings): Span {
  return warmupSteps === undefined ? { epochs: warmupEpochs } : { steps: warmupSteps };
}

/** Epochs that the training lasts, however its length was given. */
export function epochsOf({ epochs, steps, batch }: ExperimentSettings, items: number): number {
  return steps === undefined ? epochs : steps / Math.ceil(items / batch);
}

/** From first to last smoothness, constant in warm-up unless epochs are given, as published. */
export function sigmaOf(
  { sigma, sigmaEpochs, warmupEpochs }: ExperimentSettings,
  epochs: number,
): SigmaSchedule | undefined {
  if (!sigma) return undefined;
  const [initial, final] = sigma as [number, number];
  const [startEpoch, endEpoch] = (sigmaEpochs ?? [Math.min(warmupEpochs, epochs), epochs]) as [number, number];
  return { initial, final, startEpoch, endEpoch };
}

export interface ShrinkPlan {
  /** multiply-adds of the converted layers as a share of dense, that the settings ask for in the end. Default as now */
  cost: number | undefined;
  epochs: number;
}

/** The rule on widths, for models that have GBLR layers. */
export async function shrinkOf(
  settings: ExperimentSettings,
  model: Model,
  { cost, epochs }: ShrinkPlan,
): Promise<ShrinkRule | undefined> {
  const { shrink, target, threshold, approach, freeze, startThreshold, shrinkEpochs, warmupEpochs } = settings;
  const blocks = shrink === "none" ? undefined : blocksOf(model);
  if (!blocks) return undefined;
  if (shrink === "soft") return softshrink({ threshold: threshold ?? 0 });
  const start = await blocks.read({ withMean: true });
  if (shrink === "budget") {
    const aim = target ?? cost ?? summaryOf(start).relativeCost;
    return budgetShrink({ target: aim, start: 0, end: Math.min(epochs, shrinkEpochs ?? epochs / 2) });
  }
  const aim = { target: target ?? start.mean, threshold: threshold ?? 0, ...(approach !== undefined && { approach }) };
  if (shrink === "mean") return meanShrink({ target: aim.target });
  if (shrink === "targeted") return targetedSoftshrink({ ...aim, freeze });
  const endEpoch = warmupEpochs + (shrinkEpochs ?? 0);
  const first = startThreshold === undefined ? {} : { startThreshold };
  return adaptiveSoftshrink({ ...aim, ...first, startEpoch: warmupEpochs, endEpoch });
}

/** The one of budget, flops and widths that counts: the rule for widths where neither of the others is given. */
export function askedCost({
  budget,
  flops,
  widths,
}: ExperimentSettings): { budget: number } | { flops: number } | { widths: string } {
  if (budget !== undefined) return { budget };
  return flops === undefined ? { widths } : { flops };
}
