// Opens the data set of `convert --check`, prepared as the model needs it: windows of text, or labeled images. It scores
// models by perplexity or top-1 accuracy, and gives batches with their loss for the harms of layers.

import {
  dispose,
  mean,
  type Scalar,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
  tensor1d,
  tensor2d,
  tensor4d,
  tidy,
} from "@tensorflow/tfjs-core";
import { percent } from "../../../hub/text/numbers.ts";
import { clippedNotice, imageLoader, numberedAs } from "../../data/images/index.ts";
import { crossEntropy } from "../../engine/ops/index.ts";
import { classifierLogits, imageSettings, isClassifier, languageLoss, type Model } from "../../models/index.ts";
import type { RunRecord } from "../../report/index.ts";
import { type ConvertDataOptions, fetchImageSplit, openTextSplit } from "../domains/convert-data.ts";
import type { Scored, SplitSettings } from "../domains/domain.ts";
import { openedImages } from "../domains/image-sets.ts";
import { evaluationOptions } from "../domains/image-settings.ts";
import { firstWindows } from "../domains/texts.ts";
import { rowOfImages, rowOfText, scoreImages, scoreText } from "../measure.ts";
import { dataFacts } from "../results/source-facts.ts";
import type { PipelineEvent } from "../stage.ts";

/** The data set of a check. */
export interface CheckSettings extends SplitSettings {
  /** number of windows or images, from the start. Default: all */
  samples?: number | undefined;
}

/** A batch with the tensors of its inputs and targets. */
export type CheckBatch = readonly Tensor[];

/** How the loss of a model is compared with that of another one. */
export interface Measure {
  /** name of the metric, e.g. `top1` */
  metric: string;
  /** its name in text, e.g. `top-1 accuracy` */
  label: string;
  /** increase of the loss in per cent of perplexity, or in points of accuracy */
  increase(before: Scored, after: Scored): number;
  /** the increase as text, such as `+3.1 %` */
  text(increase: number): string;
  /** unit of the increase, e.g. `% of perplexity` */
  unit: string;
  /** the increase of the mean loss, in nats, that a limit allows; undefined if it does not follow from the limit */
  allowedLoss(limit: number): number | undefined;
}

/** The opened data of a check. Must be closed. */
export interface OpenCheck {
  dataset: NonNullable<RunRecord["dataset"]>;
  /** folder of the data set */
  folder: string;
  split: string;
  measure: Measure;
  score(model: Model, signal: AbortSignal): AsyncGenerator<PipelineEvent, Scored>;
  /** the first inputs */
  batches(): AsyncIterable<CheckBatch>;
  /** number of batches, and what they are called */
  total: number;
  unit: "windows" | "batches";
  /** mean loss of a batch; differentiable */
  loss(model: Model, batch: CheckBatch): Scalar;
  /** @returns notes for the user about the data that was read */
  close(): Promise<string[]>;
}

/** Windows, and images in batches, on which the harms of layers are computed. Harms only put the layers in order. */
const HARM_WINDOWS = 8;
const HARM_IMAGES = 64;
const IMAGES_PER_BATCH = 16;

/** Perplexity, in per cent. */
const PERPLEXITY: Measure = {
  ...{ metric: "perplexity", label: "perplexity" },
  increase: (before, after) => 100 * ((after.metrics.perplexity as number) / (before.metrics.perplexity as number) - 1),
  text: (increase) => `${signed(increase)} %`,
  unit: "% of perplexity",
  allowedLoss: (limit) => Math.log1p(limit / 100),
};

/** Top-1 accuracy, in points. */
const ACCURACY: Measure = {
  ...{ metric: "top1", label: "top-1 accuracy" },
  increase: (before, after) => 100 * ((before.metrics.top1 as number) - (after.metrics.top1 as number)),
  text: (increase) => `${signed(-increase)} points`,
  unit: "points of top-1 accuracy",
  allowedLoss: () => undefined,
};

const signed = (value: number): string => `${value < 0 ? "−" : "+"}${percent(Math.abs(value) / 100).replace(" %", "")}`;

/**
 * Opens a data set for a check.
 * @throws DataError if the data does not exist; SettingsError or StageError if it does not fit the model
 */
export const openCheck = (
  settings: CheckSettings,
  options: ConvertDataOptions,
): AsyncGenerator<PipelineEvent, OpenCheck> => (isClassifier(options.model) ? openImages : openText)(settings, options);

const FLAG = "--check";

async function* openText(
  settings: CheckSettings,
  options: ConvertDataOptions,
): AsyncGenerator<PipelineEvent, OpenCheck> {
  const { config, split, samples } = settings;
  const { data, texts, windows: all } = yield* openTextSplit(settings, { ...options, flag: FLAG });
  const windows = firstWindows(all, samples);
  const total = Math.min(HARM_WINDOWS, windows.length);
  return {
    ...{ dataset: dataFacts(data, config), folder: data.folder, split, measure: PERPLEXITY, total, unit: "windows" },
    async *score(scored, stop) {
      return rowOfText(yield* scoreText(scored, { windows, signal: stop }));
    },
    async *batches() {
      for (let i = 0; i < total; i++) {
        const ids = await windows.read(i);
        if (ids.length > 1) yield [tensor2d(Int32Array.from(ids), [1, ids.length], "int32")];
      }
    },
    loss: (scored, [ids]) => languageLoss(scored, ids as Tensor2D),
    close: async () => {
      await texts.close();
      return [];
    },
  };
}

async function* openImages(
  settings: CheckSettings,
  { model, context }: ConvertDataOptions,
): AsyncGenerator<PipelineEvent, OpenCheck> {
  const { config, split, column: imageColumn, samples: limit } = settings;
  const data = yield* fetchImageSplit(settings, { flag: FLAG, context });
  const { cache, signal } = context;
  const own = imageSettings(model);
  const place = { dataset: data.folder, config, split, imageColumn, limit, cache, signal };
  const images = numberedAs(yield* openedImages(place), own.labels);
  const preparation = evaluationOptions({}, own);
  const loader = imageLoader(images, { ...preparation, skipBad: true });
  const most = Math.min(HARM_IMAGES, limit ?? images.length, images.length);
  return {
    ...{ dataset: dataFacts(data, config), folder: data.folder, split: images.split },
    ...{ measure: ACCURACY, total: Math.ceil(most / IMAGES_PER_BATCH), unit: "batches" },
    async *score(scored, stop) {
      const options = { loader, signal: stop, ...(limit !== undefined && { limit }) };
      return rowOfImages(yield* scoreImages(scored, options), preparation);
    },
    async *batches() {
      for await (const { pixels, labels, items, size } of loader.batches({
        batch: IMAGES_PER_BATCH,
        limit: most,
        signal,
      })) {
        yield [tensor4d(pixels, [items.length, size, size, 3]), tensor1d(labels, "int32")];
      }
    },
    loss: (scored, [pixels, labels]) =>
      tidy(() => mean(crossEntropy(classifierLogits(scored, pixels as Tensor4D), labels as Tensor1D)) as Scalar),
    close: async () => {
      const skipped = loader.skipped.map(({ name, problem }) => `${name} is left out: ${problem}`);
      const notes = [clippedNotice(loader), ...skipped.slice(0, 1)];
      await loader.close();
      return notes.filter((note) => note !== undefined);
    },
  };
}

/** Disposes of the tensors of a batch. */
export const releaseBatch = (batch: CheckBatch): void => dispose([...batch]);
