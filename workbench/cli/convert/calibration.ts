// Runs a model over data and collects what the inputs of its layers are like, with progress on stderr. Text here, images
// in image-calibration.ts.

import { join } from "node:path";
import process from "node:process";
import type { HubAccess } from "../../../hub/access/repository.ts";
import { formatCount, percent } from "../../../hub/text/numbers.ts";
import { workbenchCache } from "../../../native/cache-folder.ts";
import { type CalibrateEvent, type Covariances, calibrate, windowInputs } from "../../compress/index.ts";
import { type Gpt2, gpt2Hidden, isClassifier, type Model } from "../../models/index.ts";
import { openTexts, type Texts } from "../../pipeline/domains/texts.ts";
import { locateDataset } from "../../pipeline/fetch.ts";
import type { ExperimentEvent } from "../../pipeline/stage.ts";
import { showPull } from "../pull.ts";
import { CommandFailed } from "../shared/program.ts";
import { type ProgressBar, progressBar } from "../shared/progress.ts";
import { calibrateOnImages } from "./image-calibration.ts";

export interface CalibrationSettings {
  /** a folder, or `owner/name[@revision]` */
  dataset: string;
  config?: string | undefined;
  split: string;
  column?: string | undefined;
  /** of files of text */
  encoding?: string | undefined;
  /** windows of text, or images */
  samples: number;
  /** tokens of a window */
  context?: number | undefined;
}

export interface CalibrationOptions {
  model: Model;
  /** folder */
  tokenizer: string;
  layers: readonly string[];
  access: HubAccess;
  signal: AbortSignal;
}

export interface Calibration {
  covariances: Covariances;
  /** inputs of a layer that were seen */
  rows: number;
}

/** On text or images, as the model takes them. */
export const calibrateOn = (settings: CalibrationSettings, options: CalibrationOptions): Promise<Calibration> =>
  (isClassifier(options.model) ? calibrateOnImages : calibrateOnText)(settings, options);

/** @throws DataError when there is no such text; CommandFailed when it is too short, or the model reads no text */
async function calibrateOnText(settings: CalibrationSettings, options: CalibrationOptions): Promise<Calibration> {
  const { access, signal, tokenizer } = options;
  const model = languageModel(options.model);
  const { positions } = model.config;
  const { dataset: name, config, split, column, encoding, context = positions } = settings;
  if (context > positions) {
    throw new CommandFailed(`--calibrate-context is ${context}, the model has ${positions} positions; give no more`);
  }
  const data = await shown({ label: name }, locateDataset({ name, config, splits: [split] }, { access, signal }));
  const cache = join(workbenchCache(process.env), "tokens");
  const texts = await openTexts({
    dataset: data.folder,
    tokenizer,
    config,
    column,
    encoding,
    context,
    cache,
    signal,
  });
  try {
    return await collect(texts, { ...options, model, split, samples: settings.samples });
  } finally {
    await texts.close();
  }
}

async function collect(
  texts: Texts,
  { model, layers, split, samples, signal }: { model: Gpt2; split: string; samples: number } & CalibrationOptions,
): Promise<Calibration> {
  const windows = await shown({ label: "tokenizing", format: () => "" }, texts.windows(split));
  if (windows.length === 0) {
    throw new CommandFailed(`${split} has too little text to calibrate on: a window has two tokens at least`);
  }
  const total = Math.min(samples, windows.length);
  const forward = (ids: Parameters<typeof gpt2Hidden>[1]) => gpt2Hidden(model, ids);
  const events = calibrate(model, windowInputs(windows, { samples }), { layers, forward, signal });
  return collected(events, { total, unit: "windows" });
}

/** Runs a calibration to its end, with a bar. @param options.unit what inputs are counted in */
export async function collected(
  events: AsyncIterable<CalibrateEvent>,
  { total, unit }: { total: number; unit: string },
): Promise<Calibration> {
  const bar = progressBar({ label: "calibrating", total, format: (count) => `${Math.round(count)} ${unit}` });
  try {
    let done = 0;
    for await (const event of events) {
      if (event.kind === "calibrated") return { covariances: event.covariances, rows: event.rows };
      bar.advance(event.inputs - done);
      done = event.inputs;
    }
    throw new CommandFailed("the calibration ended early");
  } finally {
    bar.stop();
  }
}

function languageModel(model: Model): Gpt2 {
  const { type } = model.architecture;
  if (type !== "gpt2") throw new CommandFailed(`--calibrate is for models that read text, this is ${type}`);
  return model as Gpt2;
}

/** Runs a stage of an experiment to its result, with a bar. */
export async function shown<Result>(
  settings: Parameters<typeof progressBar>[0],
  events: AsyncGenerator<Parameters<typeof show>[0], Result>,
): Promise<Result> {
  const bar = progressBar(settings);
  try {
    for (;;) {
      const { done, value } = await events.next();
      if (done) return value;
      show(value, bar);
    }
  } finally {
    bar.stop();
  }
}

function show(event: ExperimentEvent, bar: ProgressBar): void {
  if (event.kind !== "inner") return;
  if (event.of === "pull") showPull(event.event, bar);
  if (event.of === "images" && event.event.kind === "extracting") {
    bar.note(`${percent(event.event.fraction)}, ${formatCount(event.event.images)} images`);
    bar.advance(0);
  }
  if (event.of === "tokenize" && event.event.kind === "tokenizing") {
    bar.note(`${percent(event.event.fraction)}, ${formatCount(event.event.tokens)} tokens`);
    bar.advance(0);
  }
}
