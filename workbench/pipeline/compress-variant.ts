// Compresses one variant of an experiment: convert, save, measure, train, save, measure. Each stage writes its result
// to the run folder. If the result exists already, the stage is skipped.

import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { REORDER_FILE } from "../../hub/model-folder/index.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import type { Model } from "../models/index.ts";
import { RUN_FILES, updateRun } from "../report/index.ts";
import { structureNamed } from "../structures/registry.ts";
import type { CalibrationCache } from "./calibration/cache.ts";
import { convertVariant, finishedLayers } from "./convert-variant.ts";
import type { OpenData } from "./domains/domain.ts";
import type { Source } from "./fetch.ts";
import { fineTuned } from "./fine-tune.ts";
import { type BaseModel, load } from "./load.ts";
import { type Measured, measure } from "./measure.ts";
import { askedCost, targetOf, type VariantPlan } from "./plan.ts";
import { announce } from "./ranks/orders.ts";
import { NO_ORDER, reorderText, reorderTexts } from "./reorder.ts";
import { recordConversion } from "./results/conversion-record.ts";
import { type ConversionFacts, conversionFacts, conversionFactsOf, methodFacts } from "./results/row-facts.ts";
import type { RunTable } from "./run-folder.ts";
import { baseOf, save } from "./save.ts";
import type { ExperimentSettings } from "./settings.ts";
import type { ExperimentContext, PipelineEvent } from "./stage.ts";
import { settingsOf, type Variant } from "./variants.ts";

/** The inputs that all variants of an experiment share. */
export interface Shared {
  settings: ExperimentSettings;
  context: ExperimentContext;
  base: BaseModel;
  /** origin of the teacher of a distillation. Default: the base model, as it is in memory */
  teacher: Source | undefined;
  data: OpenData;
  table: RunTable;
  /** results of calibrations of the base model */
  cache: CalibrationCache;
}

/** Options of `compressVariant`. */
export interface VariantOptions extends Shared {
  variant: Variant;
  /** run folder of this variant */
  folder: string;
  /** folder for the event files of TensorBoard. Default: none are written */
  board: string | undefined;
  /** whether no later variant needs the base model */
  isLast: boolean;
  /** whether it is trained after its conversion */
  isTrained: boolean;
}

/** The result of a variant. */
export interface CompressedVariant {
  /** row of the trained model, or of the converted one if the variant is not trained */
  row: ComparisonRow;
  /** its model folder */
  model: string;
}

/** Model folders in a run folder: the model as converted, and as fine-tuned. */
const { converted: CONVERTED, model: MODEL } = RUN_FILES;

/**
 * Runs a variant.
 * @returns undefined if the signal stopped the work
 */
export async function* compressVariant(
  shared: VariantOptions,
): AsyncGenerator<PipelineEvent, CompressedVariant | undefined> {
  const options = { ...shared, settings: settingsOf(shared.variant, shared.settings) };
  const { variant, table, folder, isTrained, isLast } = options;
  const place = join(folder, isTrained ? MODEL : CONVERTED);
  const stage = isTrained ? "after" : "before";
  const keeps = isLast || options.settings.keepModels;
  const row = () => table.find(rowIdentity(variant), stage);
  if (row() && (!keeps || (await isModel(place)))) {
    yield { kind: "stage", stage: variant.title, done: true };
  } else if (isTrained) {
    if (!(yield* trained(options))) return undefined;
  } else {
    const { model } = yield* converted(options);
    model.dispose();
  }
  if (!keeps)
    for (const name of [CONVERTED, MODEL, "checkpoint"]) await rm(join(folder, name), { recursive: true, force: true });
  return { row: row() as ComparisonRow, model: place };
}

const rowIdentity = ({ title: name, key: variant }: Variant) => ({ name, variant });

/** Converts and trains a variant. @returns its row; undefined if the signal stopped the work */
async function* trained(options: VariantOptions): AsyncGenerator<PipelineEvent, ComparisonRow | undefined> {
  const { variant, table, folder, context, data } = options;
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
  const before = table.find(rowIdentity(variant), "before");
  if (before && (await isModel(place))) {
    yield { kind: "stage", stage: "convert", of: variant.title, done: true };
    const model = yield* load(place, { form: "trainable" });
    return { model, seconds: before.seconds ?? 0, facts: conversionFactsOf(before) };
  }
  yield { kind: "stage", stage: "convert", of: variant.title };
  const model = yield* ownModel(options);
  try {
    const { seconds, layers, facts } = yield* conversion(model, options);
    const measured = yield* savedAndMeasured(model, place, options);
    await finishedLayers(options).remove(layers);
    const stageSeconds = { ...facts.stageSeconds, ...measured.stageSeconds };
    yield* table.add({ ...rowOf(options, "before"), ...facts, ...measured, seconds, stageSeconds });
    return { model, seconds, facts };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** A model that may be changed: the base model itself if nothing else needs it, else a copy. */
function ownModel({ base, isLast, settings, teacher }: VariantOptions): AsyncGenerator<PipelineEvent, Model> {
  const teaches = settings.distill > 0 && !teacher;
  return isLast && !teaches ? base.take() : base.copy();
}

/** Converts the model, with other processes if there are any, and records the result. */
async function* conversion(
  model: Model,
  options: VariantOptions,
): AsyncGenerator<PipelineEvent, Omit<ConvertedModel, "model"> & { layers: string[] }> {
  const { folder, variant, context } = options;
  const began = performance.now();
  await announce(context.ranks, { convert: variant.key });
  const planned = (plan: VariantPlan) => updateRun(folder, { targetCost: targetOf(plan) });
  const {
    conversion,
    calibration,
    reordered,
    earlierSeconds = 0,
  } = yield* convertVariant(model, { ...options, planned });
  await recordConversion(folder, conversion);
  if (reordered) await writeFileAtomically(join(folder, REORDER_FILE), reorderText(reordered));
  const seconds = earlierSeconds + (performance.now() - began) / 1000;
  const layers = conversion.layers.map(({ name }) => name);
  return { seconds, layers, facts: await conversionFacts(conversion, { seconds, calibration }) };
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
        ...(settings.sequential && { sequential: true }),
        ...(settings.reorder !== NO_ORDER && { reorder: settings.reorder }),
      },
    }),
  });
  yield { kind: "stage", stage: "measure", of: variant.title };
  const { signal, ranks } = context;
  await announce(ranks, { score: folder });
  const saved = yield* load(folder);
  try {
    return yield* measure(saved, { data, signal, ranks, folder });
  } finally {
    saved.dispose();
  }
}

const rowOf = ({ variant, settings }: VariantOptions, stage: ComparisonRow["stage"]) => ({
  ...rowIdentity(variant),
  structure: variant.structure,
  stage,
  ...methodFacts(variant, settings),
});

async function isModel(folder: string): Promise<boolean> {
  return (await stat(join(folder, "config.json")).catch(() => undefined)) !== undefined;
}
