// The calibrate stage: runs a model over data and computes the covariance of the inputs of each layer to convert.
// Experiments calibrate on their training data (domains/). For `gblr convert`, the data set is opened here.

import type { Tensor, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import { countOf } from "../../../hub/text/numbers.ts";
import {
  type CalibrateEvent,
  type Covariances,
  calibrate,
  type PlannedLayer,
  takeApart,
  windowInputs,
} from "../../compress/index.ts";
import { clippedNotice, imageLoader, sampleOf } from "../../data/images/index.ts";
import {
  classifierLogits,
  imageSettings,
  isClassifier,
  isLanguageModel,
  languageHidden,
  languageSizes,
  type Model,
  usualContext,
} from "../../models/index.ts";
import type { CalibrationData } from "../domains/domain.ts";
import { imageInputs, openedImages } from "../domains/image-sets.ts";
import { evaluationOptions } from "../domains/image-settings.ts";
import { drawnWindows, openTexts } from "../domains/texts.ts";
import { fetchDataset, type Source } from "../fetch.ts";
import { lastEvent, type PipelineEvent, SettingsError, type StageContext, StageError } from "../stage.ts";

/** The result of a calibration. */
export interface Calibration {
  /** Σ of each layer by name, float32 (n_in, n_in). The caller disposes of them */
  covariances: Covariances;
  /** number of input rows of a layer */
  rows: number;
}

/**
 * Calibrates a dense model: runs it over all inputs and computes the covariance of each layer's inputs.
 * @param model changed in place: convolutions that the plan converts per kernel position are split
 */
export async function* calibrateLayers(
  model: Model,
  layers: readonly PlannedLayer[],
  { data, signal }: { data: CalibrationData; signal: AbortSignal },
): AsyncGenerator<PipelineEvent, Calibration> {
  takeApart(model, layers);
  const { total, unit } = data;
  const forward = (input: Tensor) => data.forward(model, input);
  const names = layers.map(({ name }) => name);
  const told = (event: CalibrateEvent) => ({ kind: "inner", of: "calibrate", total, unit, event }) as const;
  return yield* lastEvent(calibrate(model, data.inputs(), { layers: names, forward, signal }), "calibrated", told);
}

/** The data set of a calibration. */
export interface CalibrationSettings {
  /** a folder, or `owner/name[@revision]` */
  dataset: string;
  config?: string | undefined;
  split: string;
  /** column with the text or the images */
  column?: string | undefined;
  /** encoding of text files. Default UTF-8 */
  encoding?: string | undefined;
  /** number of windows or images */
  samples: number;
  /** draws them at random. Default: the first ones */
  seed?: number | undefined;
  /** tokens per window. Default: the model's positions, at most 2048 */
  context?: number | undefined;
}

interface OpenCalibration extends CalibrationData {
  /** @returns notes for the user about the data that was read */
  close(): Promise<string[]>;
}

interface Calibrated {
  model: Model;
  /** source of the model, from whose folder the tokenizer is read */
  source: Source;
  context: StageContext;
}

/**
 * Opens a data set for calibration, prepared as the model needs it: windows of text, or images.
 * @throws DataError if the data does not exist; SettingsError or StageError if it does not fit the model
 */
export const openCalibration = (
  settings: CalibrationSettings,
  options: Calibrated,
): AsyncGenerator<PipelineEvent, OpenCalibration> =>
  (isClassifier(options.model) ? openImages : openText)(settings, options);

async function* openText(
  { dataset, config, split, column, encoding, samples, seed, context: asked }: CalibrationSettings,
  { model, source, context }: Calibrated,
): AsyncGenerator<PipelineEvent, OpenCalibration> {
  const sizes = languageSizes(languageModel(model));
  const { positions } = sizes;
  const length = asked ?? usualContext(sizes);
  if (length > positions) {
    throw new StageError(
      `--calibrate-context ${length} is longer than the model's ${positions} positions; give at most ${positions}`,
    );
  }
  const data = yield* fetchDataset({ name: dataset, config, splits: [split] }, context);
  const { cache, signal } = context;
  const places = { dataset: data.folder, tokenizer: source.folder, cache, signal };
  const texts = await openTexts({ ...places, config, column, encoding, context: length });
  try {
    const windows = yield* texts.windows(split);
    if (windows.length === 0) {
      throw new StageError(`${split} has less than two tokens of text to calibrate on; give a split with more`);
    }
    return {
      inputs: () => windowInputs(drawnWindows(windows, { count: samples, seed }), { samples }),
      forward: (model, ids) => languageHidden(model, ids as Tensor2D),
      total: Math.min(samples, windows.length),
      unit: "windows",
      close: async () => {
        await texts.close();
        return [];
      },
    };
  } catch (error) {
    await texts.close();
    throw error;
  }
}

function languageModel(model: Model): Model {
  const { type } = model.architecture;
  if (!isLanguageModel(model)) {
    throw new StageError(`--calibrate needs a language model or an image classifier, not a ${type}`);
  }
  return model;
}

/** Images per forward pass. */
const BATCH = 16;

async function* openImages(
  { dataset, config, split, column: imageColumn, samples, seed, context: length }: CalibrationSettings,
  { model, context }: Calibrated,
): AsyncGenerator<PipelineEvent, OpenCalibration> {
  if (length !== undefined) {
    throw new SettingsError(
      "--calibrate-context is for language models, but this is an image classifier; leave it out",
    );
  }
  const data = yield* fetchDataset({ name: dataset, config, splits: [split] }, context);
  const { cache, signal } = context;
  const place = { dataset: data.folder, config, split, imageColumn, unlabeled: true };
  const limit = seed === undefined ? { limit: samples } : {};
  const opened = yield* openedImages({ ...place, ...limit, cache, signal });
  const images = seed === undefined ? opened : sampleOf(opened, { count: samples, seed });
  const loader = imageLoader(images, { ...evaluationOptions({}, imageSettings(model)), skipBad: true });
  const total = Math.min(samples, images.length);
  return {
    inputs: () => imageInputs(loader, { batch: BATCH, limit: total }),
    forward: (model, pixels) => classifierLogits(model, pixels as Tensor4D),
    total,
    unit: "images",
    close: async () => {
      // Each pass over the images skips the same ones.
      const skipped = new Map(loader.skipped.map((image) => [image.name, image]));
      const [first] = skipped.values();
      const count = `${skipped.size} of ${countOf(total, "image")}`;
      const clipped = clippedNotice(loader);
      await loader.close();
      return [
        ...(clipped === undefined ? [] : [clipped]),
        ...(first ? [`${count} skipped; the first is ${first.name}: ${first.problem}`] : []),
      ];
    },
  };
}
