// The measure stage: how good a model is on data, what it costs and how large it is, which together make a row of the
// comparison. Scores of text and of images alone are what `gblr eval` shows.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Tensor } from "@tensorflow/tfjs-core";
import { openModel } from "../../hub/model-folder/index.ts";
import type { ImageSet } from "../data/images/index.ts";
import { type Accuracy, type AccuracyOptions, accuracy } from "../evaluate/accuracy.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { type Perplexity, type PerplexityOptions, perplexity } from "../evaluate/perplexity.ts";
import { modelCounts } from "../models/counts.ts";
import type { ImageSettings, Model } from "../models/index.ts";
import type { OpenData } from "./domains/domain.ts";
import { lastEvent, type PipelineEvent } from "./stage.ts";

export interface MeasureOptions {
  data: Pick<OpenData, "score">;
  signal: AbortSignal;
  /** of the model on the disk, to take its size from. Default: the size in memory as float32 */
  folder?: string;
}

export type Measured = Pick<ComparisonRow, "metrics" | "relativeFlops" | "parameters" | "fileBytes">;

export async function* measure(
  model: Model,
  { data, signal, folder }: MeasureOptions,
): AsyncGenerator<PipelineEvent, Measured> {
  const metrics = yield* data.score(model, signal);
  const counts = await modelCounts(model);
  const size = folder === undefined ? await sizeInMemory(model) : await sizeOnDisk(folder);
  return {
    metrics,
    relativeFlops: { reference: counts.reference.relative, actual: counts.actual.relative },
    ...size,
  };
}

interface Size {
  /** numbers needed for inference */
  parameters: number;
  fileBytes: number;
}

/** As float32, whatever form the model is held in: of a GBLR layer what its live blocks cover, of which it multiplies each once. */
async function sizeInMemory(model: Model): Promise<Size> {
  const sizeOf = (tensors: Iterable<Tensor>) =>
    [...tensors].reduce((sum, { size, dtype }) => sum + (dtype === "int32" ? 0 : size), 0);
  let parameters = sizeOf(model.parameters.values());
  for (const { name, structure } of model.layers.values()) {
    if (!structure.hasWidths) continue;
    const held = model.structureParameters(name);
    parameters += (await structure.cost(held)) - sizeOf(Object.values(held));
  }
  return { parameters, fileBytes: 4 * parameters };
}

/** Parameters and bytes of the files with a model's weights. Spans and trainable.safetensors do not count. */
export async function sizeOnDisk(folder: string): Promise<Size> {
  const { tensors } = await openModel(folder);
  let parameters = 0;
  for (const { dtype, shape } of tensors.tensors.values()) {
    if (dtype !== "I32") parameters += shape.reduce((product, side) => product * side, 1);
  }
  await tensors.close();
  const names = (await readdir(folder)).filter((name) => /^model.*\.safetensors$|^pytorch_model.*\.bin$/.test(name));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return { parameters, fileBytes: sizes.reduce((sum, size) => sum + size, 0) };
}

export const scoreText = (model: Model, options: PerplexityOptions): AsyncGenerator<PipelineEvent, Perplexity> =>
  lastEvent(perplexity(model, options), "perplexity", (event) => ({ kind: "inner", of: "evaluate", event }));

export const scoreImages = (model: Model, options: AccuracyOptions): AsyncGenerator<PipelineEvent, Accuracy> =>
  lastEvent(accuracy(model, options), "accuracy", (event) => ({ kind: "inner", of: "accuracy", event }));

/** Names from the data set, else from the model, else numbers. */
export function classNames({ classes, declared }: ImageSet, own: Pick<ImageSettings, "classes" | "labels">): string[] {
  const names = declared ? classes : own.labels;
  return Array.from({ length: own.classes }, (_, i) => names?.[i] ?? String(i));
}

/** Number of images of each class (row) that were predicted as each class (column). */
export const confusionRows = ({ confusion, classes }: Pick<Accuracy, "confusion" | "classes">): number[][] =>
  Array.from({ length: classes }, (_, i) => [...confusion.subarray(i * classes, (i + 1) * classes)]);
