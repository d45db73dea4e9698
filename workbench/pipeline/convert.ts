// One way to compress, from the dense model to a model folder: convert, measure, fine-tune, measure, save. Each stage
// leaves its result in the run folder, and one whose result is there is not run again, so that a run that was stopped
// anywhere goes on where it stopped.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type Conversion, type Covariances, convert } from "../compress/index.ts";
import { loadModelNow, type Model, saveModelNow } from "../models/index.ts";
import { type ComparisonRow, readRun, updateRun, writeConversion, writeReport } from "../report/index.ts";
import { type Ended, type FitOptions, fit } from "../train/index.ts";
import type { OpenData, Teacher } from "./domains/domain.ts";
import { loadSource, type Source } from "./fetch.ts";
import { type Measured, measure } from "./measure.ts";
import { atEnd, atStart, planOf, watched } from "./plan.ts";
import type { RunTable } from "./run-folder.ts";
import type { ExperimentSettings } from "./settings.ts";
import type { ExperimentContext, ExperimentEvent } from "./stage.ts";
import { askedCost, epochsOf, lengthOf, optimizerOf, shrinkOf, sigmaOf } from "./train.ts";
import type { Variant } from "./variants.ts";

export interface VariantOptions {
  variant: Variant;
  /** of this variant's run */
  folder: string;
  settings: ExperimentSettings;
  context: ExperimentContext;
  source: Source;
  data: OpenData;
  table: RunTable;
}

/** Where a model lies in its run folder: as converted, and as fine-tuned. */
export const CONVERTED = "converted";
export const MODEL = "model";

/** @returns rows before and after fine-tuning; undefined when the signal ended it */
export async function* compressVariant(
  options: VariantOptions,
): AsyncGenerator<ExperimentEvent, ComparisonRow | undefined> {
  const { variant, table, folder, context } = options;
  const done = table.find(variant.title, "after");
  if (done && (await isModel(join(folder, MODEL)))) {
    yield { kind: "stage", stage: variant.title, done: true };
    return done;
  }
  const started = variant.converts ? yield* converted(options) : await loadBase(options);
  const { model, seconds } = started;
  try {
    const ended = yield* fineTuned(model, options);
    if (ended.kind === "interrupted" || context.signal.aborted) return undefined;
    const target = join(folder, MODEL);
    await saveModelNow(model, target, savingOf(options));
    yield { kind: "stage", stage: "measure", of: variant.title };
    const measured = yield* measureSaved(target, options);
    if (options.data.conclude) yield* options.data.conclude(model, folder, context.signal);
    const row: ComparisonRow = { ...rowOf(options, "after"), ...measured, seconds: seconds + ended.seconds };
    await table.put(row);
    yield { kind: "row", row, rows: table.rows };
    return row;
  } finally {
    model.dispose();
  }
}

/** What is published is what was measured: the model as it is read back from its folder. */
async function* measureSaved(folder: string, options: VariantOptions): AsyncGenerator<ExperimentEvent, Measured> {
  const model = await loadModelNow(folder);
  try {
    return yield* measure(model, { ...measuring(options), folder });
  } finally {
    model.dispose();
  }
}

interface Started {
  model: Model;
  /** that converting took */
  seconds: number;
}

/** With all parameters that training needs. */
async function loadBase({ source }: VariantOptions): Promise<Started> {
  return { model: await loadSource(source, { form: "trainable" }), seconds: 0 };
}

/** The converted model, from the run folder where an earlier process left it. */
async function* converted(options: VariantOptions): AsyncGenerator<ExperimentEvent, Started> {
  const { folder, variant, table } = options;
  const place = join(folder, CONVERTED);
  const before = table.find(variant.title, "before");
  if (before && (await isModel(place))) {
    yield { kind: "stage", stage: "convert", of: variant.title, done: true };
    return { model: await loadModelNow(place, { form: "trainable" }), seconds: before.seconds ?? 0 };
  }
  const { model, seconds } = yield* conversion(options);
  try {
    await saveModelNow(model, place, savingOf(options));
    yield { kind: "stage", stage: "measure", of: variant.title };
    const measured = yield* measureSaved(place, options);
    const row: ComparisonRow = { ...rowOf(options, "before"), ...measured, seconds };
    await table.put(row);
    yield { kind: "row", row, rows: table.rows };
    return { model, seconds };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

async function* conversion(options: VariantOptions): AsyncGenerator<ExperimentEvent, Started> {
  const { folder, variant, settings, context, data } = options;
  yield { kind: "stage", stage: "convert", of: variant.title };
  const { model } = await loadBase(options);
  const began = performance.now();
  let covariances: Covariances | undefined;
  try {
    if (variant.init === "activation") covariances = yield* watched(model, { variant, settings, data });
    const aim = await planOf(model, variant, atEnd(settings), covariances);
    const plan = variant.structure === "gblr" ? await planOf(model, variant, atStart(settings), covariances) : aim;
    await updateRun(folder, { targetCost: aim.totals.share });
    const { seed, searchSteps, locations } = settings;
    const how = { init: variant.init, seed, searchSteps, locations, signal: context.signal };
    for await (const event of convert(model, plan, { ...how, ...(covariances && { covariances }) })) {
      yield { kind: "inner", of: "convert", event };
      if (event.kind === "converted") await record(folder, event);
    }
    return { model, seconds: (performance.now() - began) / 1000 };
  } catch (error) {
    model.dispose();
    throw error;
  } finally {
    for (const covariance of covariances?.values() ?? []) covariance.dispose();
  }
}

async function record(folder: string, { layers }: Conversion): Promise<void> {
  await writeConversion(
    folder,
    layers.map(({ name, structure, nIn, nOut, dense, cost, error }) => {
      return { layer: name, structure, nIn, nOut, costBefore: dense, costAfter: cost, relativeError: error };
    }),
  );
}

async function* fineTuned(model: Model, options: VariantOptions): AsyncGenerator<ExperimentEvent, Ended> {
  const { folder, settings, variant, source } = options;
  yield { kind: "stage", stage: "fine-tune", of: variant.title };
  const { distill: weight, temperature } = settings;
  const teacher = weight > 0 ? { model: await loadSource(source), weight, temperature } : undefined;
  let reported = performance.now();
  try {
    for await (const event of fit(await fitOptions(model, { ...options, teacher }))) {
      yield { kind: "inner", of: "fit", event };
      if (event.kind === "finished" || event.kind === "interrupted") return event;
      if (event.kind === "evaluation" || performance.now() - reported > REPORT_EVERY) {
        await writeReport(folder);
        reported = performance.now();
      }
    }
    throw new Error("the training ended early");
  } finally {
    teacher?.model.dispose();
  }
}

/** Milliseconds. */
const REPORT_EVERY = 60_000;

async function fitOptions(
  model: Model,
  { folder, settings, context, data, variant, teacher }: VariantOptions & { teacher: Teacher | undefined },
): Promise<FitOptions> {
  const epochs = epochsOf(settings, data.trainItems);
  const shrink = await shrinkOf(settings, model, { cost: await aimOf(folder), epochs });
  const sigma = sigmaOf(settings, epochs);
  const { batch, microBatch, seed } = settings;
  return {
    model,
    task: data.task(model, teacher),
    folder,
    length: lengthOf(settings),
    batch: Math.min(batch, data.trainItems),
    microBatch,
    optimizer: optimizerOf(settings),
    seed,
    ...(sigma && { sigma }),
    ...(shrink && { shrink }),
    evaluation: {
      every: { epochs: settings.evaluateEvery },
      run: ({ signal }) => data.evaluate(model, signal),
    },
    checkpoint: { every: { epochs: settings.checkpointEvery } },
    settings: { variant: variant.key },
    signal: context.signal,
  };
}

/** Relative cost of the converted layers that training aims at, as it was planned; of a model that came converted none. */
async function aimOf(folder: string): Promise<number | undefined> {
  return (await readRun(folder)).record?.targetCost;
}

const measuring = ({ data, context }: VariantOptions) => ({ data, signal: context.signal });

const savingOf = ({ source, settings, variant }: VariantOptions) => ({
  trainable: variant.structure === "gblr",
  base: { folder: source.folder, name: source.name },
  ...(variant.converts && { gblr: { ...askedCost(settings), init: variant.init } }),
});

const rowOf = ({ variant }: VariantOptions, stage: ComparisonRow["stage"]) => ({
  name: variant.title,
  structure: variant.structure,
  stage,
});

async function isModel(folder: string): Promise<boolean> {
  return (await stat(join(folder, "config.json")).catch(() => undefined)) !== undefined;
}
