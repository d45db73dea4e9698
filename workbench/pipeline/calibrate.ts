// The calibrate stage: runs a model over data and collects the covariance of the inputs of each layer that is going to be
// converted. Experiments calibrate on their training data (domains/); `gblr convert` names a data set, opened here.

import type { Tensor, Tensor2D, Tensor4D } from "@tensorflow/tfjs-core";
import {
  type CalibrateEvent,
  type Covariances,
  calibrate,
  type PlannedLayer,
  takeApart,
  windowInputs,
} from "../compress/index.ts";
import { clippedNotice, imageLoader } from "../data/images/index.ts";
import {
  classifierLogits,
  imageSettings,
  isClassifier,
  isLanguageModel,
  languageHidden,
  languageSizes,
  type Model,
} from "../models/index.ts";
import type { CalibrationData } from "./domains/domain.ts";
import { imageInputs, openedImages } from "./domains/image-sets.ts";
import { evaluationOptions } from "./domains/image-settings.ts";
import { openTexts } from "./domains/texts.ts";
import { fetchDataset, type Source } from "./fetch.ts";
import { lastEvent, type PipelineEvent, SettingsError, type StageContext, StageError } from "./stage.ts";

export interface Calibration {
  /** Σ, float32 (n_in, n_in) by layer name; the caller's to dispose */
  covariances: Covariances;
  /** rows of input that went through a layer */
  rows: number;
}

/** Holds convolutions position by position where the plan does, and runs the model over all inputs. */
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
  return yield* lastEvent(calibrate(model, data.inputs, { layers: names, forward, signal }), "calibrated", told);
}

export interface CalibrationSettings {
  /** a folder, or `owner/name[@revision]` */
  dataset: string;
  config?: string | undefined;
  split: string;
  /** of text or of images */
  column?: string | undefined;
  /** of files of text */
  encoding?: string | undefined;
  /** windows of text, or images */
  samples: number;
  /** tokens of a window. Default the model's positions */
  context?: number | undefined;
}

interface OpenCalibration extends CalibrationData {
  /** @returns notes for the user about what was read */
  close(): Promise<string[]>;
}

interface Calibrated {
  model: Model;
  /** that the model comes from: its tokenizer is read there */
  source: Source;
  context: StageContext;
}

/**
 * Text or images of a data set, as the model takes them.
 * @throws DataError when there is no such data; SettingsError when settings do not fit the model, or the text is too short
 */
export const openCalibration = (
  settings: CalibrationSettings,
  options: Calibrated,
): AsyncGenerator<PipelineEvent, OpenCalibration> =>
  (isClassifier(options.model) ? openImages : openText)(settings, options);

async function* openText(
  { dataset, config, split, column, encoding, samples, context: asked }: CalibrationSettings,
  { model, source, context }: Calibrated,
): AsyncGenerator<PipelineEvent, OpenCalibration> {
  const { positions } = languageSizes(languageModel(model));
  const length = asked ?? positions;
  if (length > positions) {
    throw new StageError(`--calibrate-context is ${length}, the model has ${positions} positions; give no more`);
  }
  const data = yield* fetchDataset({ name: dataset, config, splits: [split] }, context);
  const { cache, signal } = context;
  const places = { dataset: data.folder, tokenizer: source.folder, cache, signal };
  const texts = await openTexts({ ...places, config, column, encoding, context: length });
  try {
    const windows = yield* texts.windows(split);
    if (windows.length === 0) {
      throw new StageError(`${split} has too little text to calibrate on: a window has two tokens at least`);
    }
    return {
      inputs: windowInputs(windows, { samples }),
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
  if (!isLanguageModel(model)) throw new StageError(`--calibrate is for models that read text, this is ${type}`);
  return model;
}

/** Images of one forward pass. */
const BATCH = 16;

async function* openImages(
  { dataset, config, split, column: imageColumn, samples, context: length }: CalibrationSettings,
  { model, context }: Calibrated,
): AsyncGenerator<PipelineEvent, OpenCalibration> {
  if (length !== undefined) {
    throw new SettingsError("--calibrate-context is of text, this model takes images; leave it out");
  }
  const data = yield* fetchDataset({ name: dataset, config, splits: [split] }, context);
  const { cache, signal } = context;
  const place = { dataset: data.folder, config, split, imageColumn, limit: samples, unlabeled: true };
  const images = yield* openedImages({ ...place, cache, signal });
  const loader = imageLoader(images, { ...evaluationOptions({}, imageSettings(model)), skipBad: true });
  const total = Math.min(samples, images.length);
  return {
    inputs: imageInputs(loader, { batch: BATCH, limit: total }),
    forward: (model, pixels) => classifierLogits(model, pixels as Tensor4D),
    total,
    unit: "images",
    close: async () => {
      const [first] = loader.skipped;
      const count = `${loader.skipped.length} of ${total} images`;
      const clipped = clippedNotice(loader);
      await loader.close();
      return [
        ...(clipped === undefined ? [] : [clipped]),
        ...(first ? [`${count} left out, the first ${first.name}: ${first.problem}`] : []),
      ];
    },
  };
}
