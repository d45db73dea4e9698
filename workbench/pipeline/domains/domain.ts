// The interface of a domain, which contains the parts of an experiment that depend on the kind of data. language.ts is
// the domain of text, images.ts that of images. The stages of an experiment are the same for both.

import type { Tensor } from "@tensorflow/tfjs-core";
import type { z } from "zod";
import type { MeasuredMetric } from "../../../hub/card/index.ts";
import type { Sharing } from "../../distributed/shares.ts";
import type { ComparisonRow } from "../../evaluate/comparison-row.ts";
import type { Model } from "../../models/index.ts";
import type { RunRecord } from "../../report/index.ts";
import type { Evaluation, Sample, Settings, Task } from "../../train/index.ts";
import type { Source } from "../fetch.ts";
import type { ExperimentSettings } from "../settings.ts";
import type { ExperimentContext, PipelineEvent } from "../stage.ts";

/** The fetched model and data set of an experiment. */
export interface Sources {
  model: Source;
  data: Source;
}

/** One split of a data set, to evaluate, calibrate or check a model on. */
export interface SplitSettings {
  /** a folder, or `owner/name[@revision]` */
  dataset: string;
  config?: string | undefined;
  split: string;
  /** column with the text or the images */
  column?: string | undefined;
  /** encoding of text files. Default UTF-8 */
  encoding?: string | undefined;
  /** tokens per window. Default: the model's positions, at most 2048 */
  context?: number | undefined;
}

/** Inputs for calibration. Each is disposed of after its forward pass. */
export interface CalibrationData {
  /** the inputs, from the first one on at each call */
  inputs(): AsyncIterable<Tensor>;
  forward(model: Model, input: Tensor): Tensor;
  /** largest number of inputs */
  total: number;
  /** unit of `total` */
  unit: "windows" | "images";
}

/** The training items to calibrate on. */
export interface CalibrationRequest {
  /** number of items */
  samples: number;
  /** items per forward pass */
  batch: number;
  /** draws the items at random. Default: the usual ones of the domain, which are the first windows of a text */
  seed?: number | undefined;
}

/** The teacher of a distillation. */
export interface Teacher {
  model: Model;
  /** weight of the distillation loss, 0 to 1 */
  weight: number;
  temperature: number;
  /** settings that identify it, which a resumed training must share */
  settings?: Settings;
}

/** The score of a model for a row of the comparison: its metrics, on what they were measured, and how fast. */
export type Scored = Pick<ComparisonRow, "metrics" | "measured" | "speed">;

/** The opened data of an experiment. Must be closed. */
export interface OpenData {
  /** number of training items */
  readonly trainItems: number;
  /** the training task, with distillation if there is a teacher */
  task(model: Model, teacher: Teacher | undefined): Task;
  /** metrics on the test split, for a row of the comparison; the main metric comes first */
  score(model: Model, sharing: Sharing): AsyncGenerator<PipelineEvent, Scored>;
  /** metrics on the validation split, during training */
  evaluate(model: Model, sharing: Sharing): Promise<Evaluation>;
  /** texts that the model writes during training; absent if none are asked for */
  samples?(model: Model, signal: AbortSignal | undefined): Promise<Sample[]>;
  /** inputs for calibration */
  calibration(request: CalibrationRequest): CalibrationData;
  /** writes further files for the report, e.g. the confusion matrix of a classifier */
  conclude?(model: Model, folder: string, signal: AbortSignal): AsyncGenerator<PipelineEvent, void>;
  close(): Promise<void>;
}

/** A kind of data, with its settings. */
export interface Domain<OwnSettings extends ExperimentSettings> {
  readonly task: RunRecord["task"];
  /** schema of the settings */
  readonly schema: z.ZodObject;
  /** @throws SettingsError for settings that contradict each other */
  check(settings: OwnSettings): void;
  /** fetches the model and the data set, or creates a model from scratch */
  fetch(settings: OwnSettings, context: ExperimentContext): AsyncGenerator<PipelineEvent, Sources>;
  /**
   * opens the splits of the data set
   * @throws SettingsError if the data or the model does not fit the settings
   */
  open(settings: OwnSettings, sources: Sources, context: ExperimentContext): AsyncGenerator<PipelineEvent, OpenData>;
  /** the metrics of a row, for the model card */
  metrics(row: ComparisonRow, settings: OwnSettings): MeasuredMetric[];
  /** tokens per window, for the model card of a language model */
  contextOf?(settings: OwnSettings): number;
}
