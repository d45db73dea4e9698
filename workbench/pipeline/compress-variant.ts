// Compresses one variant of an experiment: convert, save, measure, train, save, measure. Each stage writes its result
// to the run folder. If the result exists already, the stage is skipped.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { CALIBRATED_INITS, type Conversion, FinishedLayers } from "../compress/index.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { forInference, type Model, REORDER_FILE } from "../models/index.ts";
import { updateRun, writeConversion } from "../report/index.ts";
import { structureNamed } from "../structures/registry.ts";
import type { Ended } from "../train/index.ts";
import { convertModel, type PlanRequest } from "./convert.ts";
import type { OpenData } from "./domains/domain.ts";
import { type BaseModel, load } from "./load.ts";
import { type Measured, measure } from "./measure.ts";
import { planVariant, targetOf } from "./plan.ts";
import { NO_ORDER, reorderText, reorderTexts, requestOf } from "./reorder.ts";
import { hashedCalibration } from "./results/calibration-hash.ts";
import { type ConversionFacts, conversionFacts, conversionFactsOf, methodFacts } from "./results/row-facts.ts";
import type { RunTable } from "./run-folder.ts";
import { baseOf, save } from "./save.ts";
import type { ExperimentSettings } from "./settings.ts";
import type { ExperimentContext, PipelineEvent } from "./stage.ts";
import { askedCost, train } from "./train.ts";
import { settingsOf, type Variant } from "./variants.ts";

/** The inputs that all variants of an experiment share. */
export interface Shared {
  settings: ExperimentSettings;
  context: ExperimentContext;
  base: BaseModel;
  data: OpenData;
  table: RunTable;
}

/** Options of `compressVariant`. */
export interface VariantOptions extends Shared {
  variant: Variant;
  /** run folder of this variant */
  folder: string;
  /** whether no later variant needs the base model */
  isLast: boolean;
}

/** Model folders in a run folder: the model as converted, and as fine-tuned. */
const CONVERTED = "converted";
export const MODEL = "model";

/**
 * Runs a variant.
 * @returns the row of the fine-tuned model; undefined if the signal stopped the work
 */
export async function* compressVariant(
  shared: VariantOptions,
): AsyncGenerator<PipelineEvent, ComparisonRow | undefined> {
  const options = { ...shared, settings: settingsOf(shared.variant, shared.settings) };
  const { variant, table, folder, context, data } = options;
  const done = table.find(variant.title, "after");
  if (done && (await isModel(join(folder, MODEL)))) {
    yield { kind: "stage", stage: variant.title, done: true };
    return done;
  }
  const { model, seconds, facts } = variant.converts
    ? yield* converted(options)
    : { model: yield* ownModel(options), seconds: 0, facts: {} };
  try {
    const ended = yield* fineTuned(model, options);
    if (ended.kind === "interrupted" || context.signal.aborted) return undefined;
    const measured = yield* savedAndMeasured(model, join(folder, MODEL), options);
    if (data.conclude) yield* data.conclude(model, folder, context.signal);
    const stageSeconds = { ...facts.stageSeconds, train: ended.seconds, ...measured.stageSeconds };
    const times = { seconds: seconds + ended.seconds, stageSeconds };
    return yield* table.add({ ...rowOf(options, "after"), ...facts, ...measured, ...times });
  } finally {
    model.dispose();
  }
}

interface ConvertedModel {
  model: Model;
  /** wall-clock seconds of the conversion */
  seconds: number;
  facts: ConversionFacts;
}

/** The converted model, loaded from the run folder if an earlier process has saved it there. */
async function* converted(options: VariantOptions): AsyncGenerator<PipelineEvent, ConvertedModel> {
  const { folder, variant, table } = options;
  const place = join(folder, CONVERTED);
  const before = table.find(variant.title, "before");
  if (before && (await isModel(place))) {
    yield { kind: "stage", stage: "convert", of: variant.title, done: true };
    const model = yield* load(place, { form: "trainable" });
    return { model, seconds: before.seconds ?? 0, facts: conversionFactsOf(before) };
  }
  yield { kind: "stage", stage: "convert", of: variant.title };
  const model = yield* ownModel(options);
  try {
    const finished = new FinishedLayers(`${place}.layers`, variant.key);
    const { seconds, facts, layers } = yield* conversion(model, finished, options);
    const measured = yield* savedAndMeasured(model, place, options);
    await finished.remove(layers);
    const stageSeconds = { ...facts.stageSeconds, ...measured.stageSeconds };
    yield* table.add({ ...rowOf(options, "before"), ...facts, ...measured, seconds, stageSeconds });
    return { model, seconds, facts };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** A model that may be changed: the base model itself if nothing else needs it, else a copy. */
function ownModel({ base, isLast, settings }: VariantOptions): AsyncGenerator<PipelineEvent, Model> {
  return isLast && settings.distill === 0 ? base.take() : base.copy();
}

/** Converts the model and records the result. @returns the time, facts for the row, and names of the converted layers */
async function* conversion(
  model: Model,
  finished: FinishedLayers,
  options: VariantOptions,
): AsyncGenerator<PipelineEvent, Omit<ConvertedModel, "model"> & { layers: string[] }> {
  const { folder, variant, settings, context, data } = options;
  const { seed, searchSteps, locations, calibrationSamples, microBatch, sequential, damping } = settings;
  const { init, allocation } = variant;
  const began = performance.now();
  const plan = async (request: PlanRequest) => {
    const planned = await planVariant(model, variant, { settings, ...request });
    await updateRun(folder, { targetCost: targetOf(planned) });
    return planned.start;
  };
  const isCalibrated = CALIBRATED_INITS.has(init) || allocation === "loss" || sequential;
  const calibration = isCalibrated ? hashedCalibration(data.calibration(calibrationSamples, microBatch)) : undefined;
  const how = { allocation, init, seed, searchSteps, locations, sequential, damping, signal: context.signal };
  const asked = { plan, calibration, finished, reorder: requestOf(settings), ...how };
  const { conversion, reordered } = yield* convertModel(model, asked);
  await record(folder, conversion);
  if (reordered) await writeFileAtomically(join(folder, REORDER_FILE), reorderText(reordered));
  const seconds = (performance.now() - began) / 1000;
  const facts = conversionFacts(conversion, { seconds, calibration });
  return { seconds, facts, layers: conversion.layers.map(({ name }) => name) };
}

async function record(folder: string, { layers }: Conversion): Promise<void> {
  await writeConversion(
    folder,
    layers.map(({ name, structure, nIn, nOut, dense, cost, error }) => {
      return { layer: name, structure, nIn, nOut, costBefore: dense, costAfter: cost, relativeError: error };
    }),
  );
}

/** Trains the model. With distillation, the base model in its form for inference is the teacher. */
async function* fineTuned(model: Model, options: VariantOptions): AsyncGenerator<PipelineEvent, Ended> {
  const { folder, settings, variant, data, base, context } = options;
  yield { kind: "stage", stage: "fine-tune", of: variant.title };
  const { distill: weight, temperature } = settings;
  const teacher = weight > 0 ? { model: await forInference(yield* base.model()), weight, temperature } : undefined;
  try {
    return yield* train(model, { folder, settings, data, variant: variant.key, teacher, signal: context.signal });
  } finally {
    teacher?.model.dispose();
  }
}

/**
 * Saves the model, loads it from its folder and measures it, so that the published model is the one that is measured.
 */
async function* savedAndMeasured(
  model: Model,
  folder: string,
  { folder: run, base, settings, variant, data, context }: VariantOptions,
): AsyncGenerator<PipelineEvent, Measured> {
  yield* save(model, folder, {
    trainable: structureNamed(variant.structure).hasWidths ?? false,
    base: baseOf(base.source),
    texts: await reorderTexts(run),
    ...(variant.converts && {
      gblr: {
        ...askedCost(settings),
        init: variant.init,
        ...sequentially(settings),
        ...(settings.reorder !== NO_ORDER && { reorder: settings.reorder }),
      },
    }),
  });
  yield { kind: "stage", stage: "measure", of: variant.title };
  const saved = yield* load(folder);
  try {
    return yield* measure(saved, { data, signal: context.signal, folder });
  } finally {
    saved.dispose();
  }
}

/** What config.json says about a sequential calibration. */
const sequentially = ({ sequential }: ExperimentSettings) => (sequential ? { sequential } : {});

const rowOf = ({ variant, settings }: VariantOptions, stage: ComparisonRow["stage"]) => ({
  name: variant.title,
  structure: variant.structure,
  stage,
  ...methodFacts(variant, settings),
});

async function isModel(folder: string): Promise<boolean> {
  return (await stat(join(folder, "config.json")).catch(() => undefined)) !== undefined;
}
