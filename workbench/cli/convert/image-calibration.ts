// Runs a classifier over images of a data set and collects what the inputs of its layers are like, with progress on
// stderr. Text is in calibration.ts.

import { join } from "node:path";
import process from "node:process";
import type { Tensor4D } from "@tensorflow/tfjs-core";
import { workbenchCache } from "../../../native/cache-folder.ts";
import { calibrate } from "../../compress/index.ts";
import { clippedTold, imageLoader } from "../../data/images/index.ts";
import { classifierLogits, imageSettings } from "../../models/index.ts";
import { imageInputs, openedImages } from "../../pipeline/domains/image-sets.ts";
import { evaluationOptions } from "../../pipeline/domains/image-settings.ts";
import { locateDataset } from "../../pipeline/fetch.ts";
import { UsageError } from "../shared/program.ts";
import {
  type Calibration,
  type CalibrationOptions,
  type CalibrationSettings,
  collected,
  shown,
} from "./calibration.ts";

/** Images of one forward pass. */
const BATCH = 16;

/** @throws DataError when there are no such images */
export async function calibrateOnImages(
  { dataset: name, config, split, column, context, samples }: CalibrationSettings,
  { model, layers, access, signal }: CalibrationOptions,
): Promise<Calibration> {
  if (context !== undefined)
    throw new UsageError("--calibrate-context is of text, this model takes images; leave it out");
  const data = await shown({ label: name }, locateDataset({ name, config, splits: [split] }, { access, signal }));
  const cache = join(workbenchCache(process.env), "images");
  const place = {
    dataset: data.folder,
    config,
    split,
    imageColumn: column,
    limit: samples,
    cache,
    signal,
    unlabeled: true,
  };
  const images = await shown({ label: "images", format: () => "" }, openedImages(place));
  const loader = imageLoader(images, { ...evaluationOptions({}, imageSettings(model)), skipBad: true });
  const total = Math.min(samples, images.length);
  try {
    const forward = (pixels: Tensor4D) => classifierLogits(model, pixels);
    const events = calibrate(model, imageInputs(loader, { batch: BATCH, limit: total }), { layers, forward, signal });
    return await collected(events, { total, unit: "images" });
  } finally {
    const [first] = loader.skipped;
    const count = `${loader.skipped.length} of ${total} images`;
    const clipped = clippedTold(loader);
    if (clipped !== undefined) process.stderr.write(`gblr: ${clipped}\n`);
    if (first) process.stderr.write(`gblr: ${count} left out, the first ${first.name}: ${first.problem}\n`);
    await loader.close();
    await images.close();
  }
}
