// The train stage: runs `fit` with the schedules, the optimizer and the shrink rule that the settings choose.

import { isFirst, type ProcessGroup } from "../distributed/process-group.ts";
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
import { type Board, openBoard, readRun, writeReport } from "../report/index.ts";
import {
  blocksOf,
  type Ended,
  type FitOptions,
  fit,
  type LoraOptions,
  type OptimizerOptions,
  type Span,
  summaryOf,
} from "../train/index.ts";
import type { OpenData, Teacher } from "./domains/domain.ts";
import type { ExperimentSettings } from "./settings.ts";
import type { PipelineEvent } from "./stage.ts";

export interface TrainStageOptions {
  /** run folder */
  folder: string;
  settings: ExperimentSettings;
  data: OpenData;
  /** key of the variant, e.g. `gblr-activation` */
  variant: string;
  teacher: Teacher | undefined;
  /** folder for the event files of TensorBoard. Default: none are written */
  board?: string | undefined;
  signal: AbortSignal;
  ranks: ProcessGroup | undefined;
}

/**
 * Trains a model from the newest checkpoint in the run folder, or from the start. Writes the report after each
 * evaluation, and at least every minute.
 * @param model changed in place
 * @throws as `fit` does
 */
export async function* train(model: Model, options: TrainStageOptions): AsyncGenerator<PipelineEvent, Ended> {
  let reported = performance.now();
  let board: Board | undefined;
  try {
    for await (const event of fit(await fitOptions(model, options))) {
      const begins = event.kind === "started" || event.kind === "resumed";
      if (begins && options.board !== undefined) board = await openBoard(options.board, options.folder);
      yield { kind: "inner", of: "fit", event };
      if (event.kind === "finished" || event.kind === "interrupted") return event;
      if (event.kind === "step" || event.kind === "evaluation" || event.kind === "structure")
        await board?.append(event);
      if (isFirst(options.ranks) && (event.kind === "evaluation" || performance.now() - reported > REPORT_EVERY)) {
        await writeReport(options.folder);
        reported = performance.now();
      }
    }
    throw new Error("the training ended early");
  } finally {
    await board?.close();
  }
}

/** Maximum time between reports, in milliseconds. */
const REPORT_EVERY = 60_000;

async function fitOptions(
  model: Model,
  { folder, settings, signal, data, variant, teacher, ranks }: TrainStageOptions,
): Promise<FitOptions> {
  const epochs = epochsOf(settings, data.trainItems);
  const shrink = await shrinkOf(settings, model, { cost: await plannedCost(folder), epochs });
  const sigma = sigmaOf(settings, epochs);
  const { batch, microBatch, seed, shrinkEvery } = settings;
  const { samples } = data;
  return {
    model,
    task: data.task(model, teacher),
    folder,
    length: lengthOf(settings),
    batch: Math.min(batch, data.trainItems),
    microBatch,
    optimizer: optimizerOf(settings),
    seed,
    lora: loraOf(settings),
    ...(sigma && { sigma }),
    ...(shrink && { shrink }),
    ...(shrinkEvery !== undefined && { shrinkEvery }),
    evaluation: {
      every: { epochs: settings.evaluateEvery },
      run: ({ signal }) => data.evaluate(model, { signal, ranks }),
      ...(samples && { samples: ({ signal }) => samples(model, signal) }),
    },
    checkpoint: { every: { epochs: settings.checkpointEvery } },
    settings: { variant, ...teacher?.settings },
    signal,
    ranks,
  };
}

/** The adapters that the settings ask for; undefined for training of all parameters. */
export function loraOf({
  lora,
  loraAlpha: alpha,
  loraLayers,
  loraFull: full,
}: ExperimentSettings): LoraOptions | undefined {
  return lora === undefined ? undefined : { rank: lora, alpha, layers: loraLayers, full };
}

/**
 * Relative cost of the converted layers at the end, without those that stay dense; undefined if this run has
 * not converted the model.
 */
const plannedCost = async (folder: string): Promise<number | undefined> => (await readRun(folder)).record?.targetCost;

function lengthOf({ epochs, steps }: ExperimentSettings): Span {
  return steps === undefined ? { epochs } : { steps };
}

function optimizerOf(settings: ExperimentSettings): OptimizerOptions {
  const { learningRate, structureLearningRate, weightDecay, clip, schedule, minimumRate, decayEpochs } = settings;
  const { shardOptimizer: shard } = settings;
  return {
    learningRate,
    ...(structureLearningRate !== undefined && { structureLearningRate }),
    weightDecay,
    ...(clip > 0 && { clipNorm: clip }),
    ...(shard !== undefined && { shard }),
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

/** Length of the training in epochs, also if the settings give steps. */
function epochsOf({ epochs, steps, batch }: ExperimentSettings, items: number): number {
  return steps === undefined ? epochs : steps / Math.ceil(items / batch);
}

/** The schedule of σ. Unless epochs are given, σ is constant during the warm-up, as published. */
function sigmaOf({ sigma, sigmaEpochs, warmupEpochs }: ExperimentSettings, epochs: number): SigmaSchedule | undefined {
  if (!sigma) return undefined;
  const [initial, final] = sigma as [number, number];
  const [startEpoch, endEpoch] = (sigmaEpochs ?? [Math.min(warmupEpochs, epochs), epochs]) as [number, number];
  return { initial, final, startEpoch, endEpoch };
}

interface ShrinkPlan {
  /** multiply-adds of the converted layers at the end, relative to dense. Default: as at the start */
  cost: number | undefined;
  epochs: number;
}

/** The shrink rule; undefined for models without GBLR layers, and with adapters, which leave widths as they are. */
async function shrinkOf(
  settings: ExperimentSettings,
  model: Model,
  { cost, epochs }: ShrinkPlan,
): Promise<ShrinkRule | undefined> {
  const { shrink, target, threshold, approach, freeze, startThreshold, shrinkEpochs, warmupEpochs } = settings;
  const blocks = shrink === "none" || settings.lora !== undefined ? undefined : blocksOf(model);
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
