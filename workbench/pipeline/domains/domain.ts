// What an experiment has to know of its kind of data: where it comes from, what is learned of it, how a model is scored on
// it. Text is in language-domain.ts; everything else of an experiment is the same for all.

import type { Tensor } from "@tensorflow/tfjs-core";
import type { MeasuredMetric } from "../../../hub/card/index.ts";
import type { Model } from "../../models/index.ts";
import type { ComparisonRow, RunRecord } from "../../report/index.ts";
import type { Evaluation, Task } from "../../train/index.ts";
import type { Source } from "../fetch.ts";
import type { ExperimentSettings } from "../settings.ts";
import type { ExperimentContext, ExperimentEvent } from "../stage.ts";

export interface Sources {
  model: Source;
  data: Source;
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
  score(model: Model, signal: AbortSignal): AsyncGenerator<ExperimentEvent, Record<string, number>>;
  /** while training, on the validation split */
  evaluate(model: Model, signal: AbortSignal | undefined): Promise<Evaluation>;
  /** inputs of training items for a forward pass each, for `calibrate` to dispose of */
  inputs(samples: number, batch: number): AsyncIterable<Tensor>;
  forward(model: Model, input: Tensor): Tensor;
  /** leaves in the run folder what reports show of this kind of data only */
  conclude?(model: Model, folder: string, signal: AbortSignal): AsyncGenerator<ExperimentEvent, void>;
  close(): Promise<void>;
}

export interface Domain<Settings extends ExperimentSettings> {
  readonly task: RunRecord["task"];
  /** @throws SettingsError for what can be told from the settings alone */
  check(settings: Settings): void;
  /** @param context.folder of the run, for a model that is made for it */
  fetch(settings: Settings, context: ExperimentContext): AsyncGenerator<ExperimentEvent, Sources>;
  /** @throws SettingsError when the data or the model does not fit the settings */
  open(settings: Settings, sources: Sources, context: ExperimentContext): AsyncGenerator<ExperimentEvent, OpenData>;
  /** for the card */
  metrics(row: ComparisonRow, settings: Settings): MeasuredMetric[];
  /** tokens of a window, for cards of language models */
  contextOf?(settings: Settings): number;
}
