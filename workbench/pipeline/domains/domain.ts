// The interface of a domain: everything in an experiment that depends on the kind of data. Text is in language.ts,
// images are in images.ts; the stages of an experiment are the same for both.

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
  /** weight of its predictions in the loss, 0 to 1 */
  weight: number;
  temperature: number;
}

/** The opened data of an experiment. Must be closed. */
export interface OpenData {
  /** number of training items */
  readonly trainItems: number;
  task(model: Model, teacher: Teacher | undefined): Task;
  /** metrics on the test split, as rows of the comparison show them; the main metric comes first */
  score(model: Model, signal: AbortSignal): AsyncGenerator<PipelineEvent, Record<string, number>>;
  /** metrics on the validation split, during training */
  evaluate(model: Model, signal: AbortSignal | undefined): Promise<Evaluation>;
  /** `samples` training items, in batches of `batch` */
  calibration(samples: number, batch: number): CalibrationData;
  /** writes files of the run folder that reports show for this kind of data only */
  conclude?(model: Model, folder: string, signal: AbortSignal): AsyncGenerator<PipelineEvent, void>;
  close(): Promise<void>;
}

export interface Domain<Settings extends ExperimentSettings> {
  readonly task: RunRecord["task"];
  /** schema of the settings */
  readonly schema: z.ZodObject;
  /** @throws SettingsError for settings that contradict each other */
  check(settings: Settings): void;
  /** Fetches model and data, or makes a model from scratch. */
  fetch(settings: Settings, context: ExperimentContext): AsyncGenerator<PipelineEvent, Sources>;
  /** @throws SettingsError when the data or the model does not fit the settings */
  open(settings: Settings, sources: Sources, context: ExperimentContext): AsyncGenerator<PipelineEvent, OpenData>;
  /** for the card */
  metrics(row: ComparisonRow, settings: Settings): MeasuredMetric[];
  /** tokens of a window, for cards of language models */
  contextOf?(settings: Settings): number;
}
