// From settings to what `fit` takes: schedules, the optimizer, the rule on widths. Numbers only; no data and no files.

import type { Tensor } from "@tensorflow/tfjs-core";
import {
  adaptiveSoftshrink,
  type BudgetLayer,
  budgetShrink,
  meanShrink,
  meanWidth,
  type ShrinkRule,
  targetedSoftshrink,
} from "../gblr/shrink/index.ts";
import type { SigmaSchedule } from "../gblr/sigma-schedule.ts";
import type { Model } from "../models/model.ts";
import { gblrLayers, type OptimizerOptions, type Span, structureSummary } from "../train/index.ts";
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
): Promise<ShrinkRule<BudgetLayer> | undefined> {
  const { shrink, target, threshold, shrinkEpochs, warmupEpochs } = settings;
  const widths = [...model.layers.keys()].flatMap((name) => model.parameters.get(`${name}.widths`) ?? []);
  if (shrink === "none" || widths.length === 0) return undefined;
  if (shrink === "budget") {
    const aim = target ?? cost ?? (await costOf(model));
    return budgetShrink({ target: aim, start: 0, end: Math.min(epochs, shrinkEpochs ?? epochs / 2) });
  }
  const aim = { target: target ?? (await meanOf(widths)), threshold: threshold ?? 0 };
  if (shrink === "mean") return meanShrink({ target: aim.target });
  if (shrink === "targeted") return targetedSoftshrink(aim);
  const endEpoch = warmupEpochs + (shrinkEpochs ?? 0);
  return adaptiveSoftshrink({ ...aim, startMultiple: 1, startEpoch: warmupEpochs, endEpoch });
}

async function meanOf(widths: readonly Tensor[]): Promise<number> {
  const mean = meanWidth(widths.map((of) => ({ widths: of })));
  const [value] = await mean.data();
  mean.dispose();
  return value as number;
}

async function costOf(model: Model): Promise<number> {
  return (await structureSummary(gblrLayers(model)))?.relativeCost ?? 1;
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
