// The measure stage: computes the metrics of a model on data, its relative FLOPs, and its size, which make a row of the
// comparison. This file also has the score functions for text and images that `gblr eval` uses.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { openModel } from "../../hub/model-folder/index.ts";
import type { ImageSet } from "../data/images/index.ts";
import type { Sharing } from "../distributed/shares.ts";
import { type Accuracy, type AccuracyOptions, accuracy } from "../evaluate/accuracy.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { type Perplexity, type PerplexityOptions, perplexity } from "../evaluate/perplexity.ts";
import { modelCounts } from "../models/counts.ts";
import { storedTensors } from "../models/folder/stored-layers.ts";
import { type ImageSettings, linearParameters, type Model } from "../models/index.ts";
import { peakMemory } from "../report/machine.ts";
import type { OpenData, Scored } from "./domains/domain.ts";
import type { evaluationOptions } from "./domains/image-settings.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

export interface MeasureOptions extends Sharing {
  data: Pick<OpenData, "score">;
  /** model folder whose size is measured. Default: the size is computed for saving the model as float32 */
  folder?: string;
}

/** The numbers of a measured model, without its name. */
export type Measured = Scored &
  Pick<
    ComparisonRow,
    "relativeFlops" | "multiplyAdds" | "parameters" | "linear" | "fileBytes" | "stageSeconds" | "peakMemory"
  >;

/** Scores a model on the test split, counts its multiply-adds, and determines its size. */
export async function* measure(
  model: Model,
  { data, folder, ...sharing }: MeasureOptions,
): AsyncGenerator<PipelineEvent, Measured> {
  const began = performance.now();
  const scored = yield* data.score(model, sharing);
  const seconds = (performance.now() - began) / 1000;
  const size = folder === undefined ? await sizeWhenSaved(model) : await sizeOnDisk(folder);
  return { ...scored, ...(await costFacts(model)), ...size, stageSeconds: { measure: seconds }, ...memoryFacts() };
}

/** The cost of a model, for its row: multiply-adds of the whole model and parameters of its linear layers. */
export async function costFacts(model: Model) {
  const { reference, actual } = await modelCounts(model);
  return {
    relativeFlops: { reference: reference.relative, actual: actual.relative },
    multiplyAdds: { reference: reference.total, actual: actual.total },
    linear: await linearParameters(model),
  } satisfies Partial<ComparisonRow>;
}

/** The memory of this process, for a row; nothing if the runtime does not report it. */
export function memoryFacts(): Pick<ComparisonRow, "peakMemory"> {
  const peak = peakMemory();
  return peak === undefined ? {} : { peakMemory: peak };
}

interface Size {
  /** number of parameters needed for inference */
  parameters: number;
  /** bytes of the files with these parameters */
  fileBytes: number;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, side) => product * side, 1);

/** The size of a model in model.safetensors, with GBLR layers in the packed form and without the header of the file. */
export async function sizeWhenSaved(model: Model): Promise<Size> {
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

/** The score of a language model as a row has it. */
export const rowOfText = ({ perplexity, nll, tokensPerSecond, ...on }: Perplexity): Scored => ({
  metrics: { perplexity, nll },
  measured: { tokens: on.tokens, windows: on.windows, context: on.context, stride: on.stride },
  speed: { tokensPerSecond },
});

/** The score of an image classifier as a row has it. */
export const rowOfImages = (
  { top1, top5, loss, images, skipped, imagesPerSecond }: Accuracy,
  { size, transform }: Pick<ReturnType<typeof evaluationOptions>, "size" | "transform">,
): Scored => ({
  metrics: { top1, top5, loss },
  measured: {
    ...{ images, skipped, size, cropShare: transform.cropShare },
    ...{ cropMode: transform.cropMode, interpolation: transform.interpolation },
  },
  speed: { imagesPerSecond },
});

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
