// What an experiment has to know of its kind of data: where it comes from, what is learned of it, how a model is scored on
// it. Text is in language-domain.ts; everything else of an experiment is the same for all.

import type { Tensor } from "@tensorflow/tfjs-core";
import type { z } from "zod";
import type { MeasuredMetric } from "../../../hub/card/index.ts";
import type { ComparisonRow } from "../../evaluate/comparison-row.ts";
import type { Model } from "../../models/index.ts";
import type { RunRecord } from "../../report/index.ts";
import type { Evaluation, Task } from "../../train/index.ts";
import type { Source } from "../fetch.ts";
import type { ExperimentSettings } from "../settings.ts";
import type { ExperimentContext, PipelineEvent } from "../stage.ts";

export interface Sources {
  model: Source;
  data: Source;
}

/** Inputs to run a model on, each disposed of after its forward pass. */
export interface CalibrationData {
  inputs: AsyncIterable<Tensor>;
  forward(model: Model, input: Tensor): Tensor;
  /** inputs at most, and what they are counted in */
  total: number;
  unit: "windows" | "images";
}

export interface Teacher {
  model: Model;
  /** share of its predictions in the loss */
  weight: number;
  temperature: number;
}

/** The data of an experiment, open. Close it. */
export interface OpenData {
  /** how many items there are to train on */
  readonly trainItems: number;
  task(model: Model, teacher: Teacher | undefined): Task;
  /** on the split that results are of: what rows of the table show, the one that counts first */
  score(model: Model, signal: AbortSignal): AsyncGenerator<PipelineEvent, Record<string, number>>;
  /** while training, on the validation split */
  evaluate(model: Model, signal: AbortSignal | undefined): Promise<Evaluation>;
  /** training items, `samples` of them in all, `batch` a forward pass */
  calibration(samples: number, batch: number): CalibrationData;
  /** leaves in the run folder what reports show of this kind of data only */
  conclude?(model: Model, folder: string, signal: AbortSignal): AsyncGenerator<PipelineEvent, void>;
  close(): Promise<void>;
}

export interface Domain<Settings extends ExperimentSettings> {
  readonly task: RunRecord["task"];
  /** of the settings */
  readonly schema: z.ZodObject;
  /** @throws SettingsError for what can be told from the settings alone */
  check(settings: Settings): void;
  /** @param context.folder of the run, for a model that is made for it */
  fetch(settings: Settings, context: ExperimentContext): AsyncGenerator<PipelineEvent, Sources>;
  /** @throws SettingsError when the data or the model does not fit the settings */
  open(settings: Settings, sources: Sources, context: ExperimentContext): AsyncGenerator<PipelineEvent, OpenData>;
  /** for the card */
  metrics(row: ComparisonRow, settings: Settings): MeasuredMetric[];
  /** tokens of a window, for cards of language models */
  contextOf?(settings: Settings): number;
}
