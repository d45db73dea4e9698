// The measure stage: computes the metrics of a model on data, its relative FLOPs, and its size, which make a row of the
// comparison. This file also has the score functions for text and images that `gblr eval` uses.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { openModel } from "../../hub/model-folder/index.ts";
import type { ImageSet } from "../data/images/index.ts";
import { type Accuracy, type AccuracyOptions, accuracy } from "../evaluate/accuracy.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { type Perplexity, type PerplexityOptions, perplexity } from "../evaluate/perplexity.ts";
import { modelCounts } from "../models/counts.ts";
import { storedTensors } from "../models/folder/stored-layers.ts";
import type { ImageSettings, Model } from "../models/index.ts";
import type { OpenData } from "./domains/domain.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

export interface MeasureOptions {
  data: Pick<OpenData, "score">;
  signal: AbortSignal;
  /** model folder whose size is measured. Default: the size is computed for saving the model as float32 */
  folder?: string;
}

/** The numbers of a measured model, without its name. */
export type Measured = Pick<ComparisonRow, "metrics" | "relativeFlops" | "parameters" | "fileBytes">;

/** Scores a model on the test split, counts its multiply-adds, and determines its size. */
export async function* measure(
  model: Model,
  { data, signal, folder }: MeasureOptions,
): AsyncGenerator<PipelineEvent, Measured> {
  const metrics = yield* data.score(model, signal);
  const counts = await modelCounts(model);
  const size = folder === undefined ? await sizeWhenSaved(model) : await sizeOnDisk(folder);
  return {
    metrics,
    relativeFlops: { reference: counts.reference.relative, actual: counts.actual.relative },
    ...size,
  };
}

interface Size {
  /** number of parameters needed for inference */
  parameters: number;
  /** bytes of the files with these parameters */
  fileBytes: number;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, side) => product * side, 1);

/** The size of a model in model.safetensors, with GBLR layers in the packed form and without the header of the file. */
async function sizeWhenSaved(model: Model): Promise<Size> {
  const { model: tensors } = await storedTensors(model);
  const parameters = tensors.reduce((sum, { dtype, shape }) => sum + (dtype === "I32" ? 0 : sizeOf(shape)), 0);
  return { parameters, fileBytes: tensors.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0) };
}

/** Number of parameters and bytes of the files with a model's weights. Spans and trainable.safetensors do not count. */
export async function sizeOnDisk(folder: string): Promise<Size> {
  const { tensors } = await openModel(folder);
  let parameters = 0;
  for (const { dtype, shape } of tensors.tensors.values()) {
    if (dtype !== "I32") parameters += sizeOf(shape);
  }
  await tensors.close();
  const names = (await readdir(folder)).filter((name) => /^model.*\.safetensors$|^pytorch_model.*\.bin$/.test(name));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return { parameters, fileBytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/** Perplexity of a language model on windows of text. */
export const scoreText = (model: Model, options: PerplexityOptions): AsyncGenerator<PipelineEvent, Perplexity> =>
  lastEvent(perplexity(model, options), "perplexity", (event) => ({ kind: "inner", of: "evaluate", event }));

/** Accuracy of an image classifier on the images of a loader. */
export const scoreImages = (model: Model, options: AccuracyOptions): AsyncGenerator<PipelineEvent, Accuracy> =>
  lastEvent(accuracy(model, options), "accuracy", (event) => ({ kind: "inner", of: "accuracy", event }));

/** The names of a model's classes: from the data set if it declares them, else from the model, else their numbers. */
export function classNames({ classes, declared }: ImageSet, own: Pick<ImageSettings, "classes" | "labels">): string[] {
  const names = declared ? classes : own.labels;
  return Array.from({ length: own.classes }, (_, i) => names?.[i] ?? String(i));
}

/** The confusion matrix as rows: images of each class (row) that were predicted as each class (column). */
export const confusionRows = ({ confusion, classes }: Pick<Accuracy, "confusion" | "classes">): number[][] =>
  Array.from({ length: classes }, (_, i) => [...confusion.subarray(i * classes, (i + 1) * classes)]);
