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
import type { Sharing } from "../../distributed/shares.ts";
import { classifierLogits, imageSettings, isClassifier, languageHidden, type Model } from "../../models/index.ts";
import { type ConvertDataOptions, fetchImageSplit, openTextSplit } from "../domains/convert-data.ts";
import type { CalibrationData, SplitSettings } from "../domains/domain.ts";
import { imageInputs, openedImages } from "../domains/image-sets.ts";
import { evaluationOptions } from "../domains/image-settings.ts";
import { drawnWindows } from "../domains/texts.ts";
import { lastEvent, type PipelineEvent } from "../stage.ts";

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
  { data, ranks, signal }: { data: CalibrationData } & Sharing,
): AsyncGenerator<PipelineEvent, Calibration> {
  takeApart(model, layers);
  const { total, unit } = data;
  const forward = (input: Tensor) => data.forward(model, input);
  const names = layers.map(({ name }) => name);
  const how = { layers: names, forward, ranks, signal };
  const told = (event: CalibrateEvent) => ({ kind: "inner", of: "calibrate", total, unit, event }) as const;
  return yield* lastEvent(calibrate(model, data.inputs(), how), "calibrated", told);
}

/** The data set of a calibration. */
export interface CalibrationSettings extends SplitSettings {
  /** number of windows or images */
  samples: number;
  /** draws them at random. Default: the first ones */
  seed?: number | undefined;
}

interface OpenCalibration extends CalibrationData {
  /** @returns notes for the user about the data that was read */
  close(): Promise<string[]>;
}

/**
 * Opens a data set for calibration, prepared as the model needs it: windows of text, or images.
 * @throws DataError if the data does not exist; SettingsError or StageError if it does not fit the model
 */
export const openCalibration = (
  settings: CalibrationSettings,
  options: ConvertDataOptions,
): AsyncGenerator<PipelineEvent, OpenCalibration> =>
  (isClassifier(options.model) ? openImages : openText)(settings, options);

const FLAG = "--calibrate";

async function* openText(
  settings: CalibrationSettings,
  options: ConvertDataOptions,
): AsyncGenerator<PipelineEvent, OpenCalibration> {
  const { samples, seed } = settings;
  const { texts, windows } = yield* openTextSplit(settings, { ...options, flag: FLAG });
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
}

/** Images per forward pass. */
const BATCH = 16;

async function* openImages(
  settings: CalibrationSettings,
  { model, context }: ConvertDataOptions,
): AsyncGenerator<PipelineEvent, OpenCalibration> {
  const { config, split, column: imageColumn, samples, seed } = settings;
  const data = yield* fetchImageSplit(settings, { flag: FLAG, context });
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
