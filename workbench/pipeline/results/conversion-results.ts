// The results of a conversion, which `gblr convert` writes as results.json into the model folder: how the model was made,
// at which cost and with which errors; the layers are in conversion.json. An evaluation of the folder repeats these facts
// beside its metrics (evaluation-results.ts).

import { join } from "node:path";
import type { ComparisonRow } from "../../evaluate/comparison-row.ts";
import type { Model } from "../../models/index.ts";
import { RUN_FILES, type RunFacts } from "../../report/index.ts";
import { finishedResults, writeResultsFile } from "../../report/results-file.ts";
import type { HashedCalibration } from "../calibration/hash.ts";
import type { Converted } from "../convert.ts";
import type { Source } from "../fetch.ts";
import { costFacts, memoryFacts, sizeOnDisk } from "../measure.ts";
import type { Origin } from "../stage.ts";
import { variantOf } from "../variants.ts";
import { recordConversion } from "./conversion-record.ts";
import { conversionFacts } from "./row-facts.ts";
import { engineFacts, modelFacts } from "./source-facts.ts";

/** What was converted, and how. */
export interface ConvertedFolder extends Origin {
  model: Model;
  converted: Converted;
  source: Source;
  /** folder of the converted model */
  out: string;
  /** settings of the verb that change the result */
  settings: RunFacts["settings"];
  /** options of the method beside initialization and allocation */
  options: Readonly<Record<string, string | number | boolean>>;
  /** by name, as in the settings of experiments */
  seeds: Readonly<{ seed: number; calibrationSeed?: number }>;
  /** seconds from the plan to the saved folder */
  seconds: number;
  calibration: HashedCalibration | undefined;
  /** data set of the calibration */
  dataset: string | undefined;
  /** rows of a check on a data set: the model before, and the metrics after the conversion */
  checked?: CheckedRows | undefined;
}

/** What a check on a data set adds to the results. */
export interface CheckedRows {
  dataset: NonNullable<RunFacts["dataset"]>;
  split: string;
  before: ComparisonRow;
  after: Pick<ComparisonRow, "metrics" | "measured" | "speed">;
  note?: string;
}

/**
 * Writes results.json and conversion.json into the folder of a converted model.
 * @throws RunError if it cannot be written
 */
export async function writeConversionResults(folder: ConvertedFolder): Promise<void> {
  const { model, source, out, settings, seeds, command, versions, checked } = folder;
  const facts: RunFacts = {
    name: `${source.name} → ${titleOf(folder)}`,
    recipe: "convert",
    command,
    settings,
    task: model.architecture.task.kind,
    versions: { ...versions },
    ...engineFacts(folder),
    seed: seeds.seed,
    model: await modelFacts(source),
    ...(checked && { dataset: checked.dataset, comparisonSplit: checked.split }),
  };
  await recordConversion(out, folder.converted.conversion);
  const row = await rowOf(folder);
  await writeResultsFile(join(out, RUN_FILES.results), finishedResults(facts, checked ? [checked.before, row] : [row]));
}

const titleOf = ({ converted: { plan, conversion } }: ConvertedFolder): string =>
  variantOf({ structure: plan.structure, init: conversion.init, allocation: plan.allocation }).title;

async function rowOf(folder: ConvertedFolder): Promise<ComparisonRow> {
  const { model, converted, out, options, seeds, seconds, calibration, dataset, checked } = folder;
  const { plan, conversion } = converted;
  const { calibration: seen, ...facts } = await conversionFacts(conversion, { seconds, calibration });
  return {
    name: titleOf(folder),
    structure: plan.structure,
    stage: "before",
    metrics: {},
    method: { init: conversion.init, allocation: plan.allocation, ...options },
    budget: plan.asked,
    seeds,
    ...facts,
    ...(seen && { calibration: { ...(dataset !== undefined && { dataset }), ...seen } }),
    ...(await costFacts(model)),
    ...(await sizeOnDisk(out)),
    seconds,
    ...memoryFacts(),
    ...checked?.after,
    ...(checked?.note !== undefined && { note: checked.note }),
  };
}
