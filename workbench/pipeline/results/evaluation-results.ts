// The results of an evaluation of one model, as results.json has them: one row with the metrics, the cost and the size of
// the model. What the folder of a converted model says about its conversion (method, budget, seeds, calibration) is a part
// of the row, so that the evaluations of several converted models can be compared.

import { structureTitle } from "../../../hub/model-folder/index.ts";
import type { ComparisonRow } from "../../evaluate/comparison-row.ts";
import type { Model } from "../../models/index.ts";
import type { RunFacts } from "../../report/index.ts";
import { finishedResults, readResults, writeResultsFile } from "../../report/results-file.ts";
import type { Scored } from "../domains/domain.ts";
import { type Source, structureOf } from "../fetch.ts";
import { costFacts, memoryFacts, sizeOnDisk } from "../measure.ts";
import type { Origin } from "../stage.ts";
import { dataFacts, engineFacts, modelFacts } from "./source-facts.ts";

/** A model that was evaluated. */
export interface Evaluated {
  model: Model;
  source: Source;
  scored: Scored;
  /** seconds of the evaluation */
  seconds: number;
}

/** The row of a model that was evaluated. */
export async function evaluationRow({ model, source, scored, seconds }: Evaluated): Promise<ComparisonRow> {
  const structure = await structureOf(source);
  const made = await conversionOf(source);
  const { method, budget, seeds, calibration, layerErrors } = made ?? {};
  return {
    name: made?.name ?? structureTitle(structure),
    structure,
    stage: made?.stage ?? "before",
    ...scored,
    ...(method && { method }),
    ...(budget && { budget }),
    ...(seeds && { seeds }),
    ...(calibration && { calibration }),
    ...(layerErrors && { layerErrors }),
    ...(await costFacts(model)),
    ...(await sizeOnDisk(source.folder)),
    ...(made?.seconds !== undefined && { seconds: made.seconds }),
    stageSeconds: { ...made?.stageSeconds, measure: seconds },
    ...memoryFacts(),
  };
}

/** The row of the conversion that made the model; undefined if its folder has none. */
async function conversionOf({ folder }: Source): Promise<ComparisonRow | undefined> {
  const found = await readResults(folder).catch(() => undefined);
  return found?.results.rows.at(-1);
}

/** What the record of an evaluation says besides its row. */
export interface EvaluationFacts {
  /** title of the evaluation */
  name: string;
  /** the verb, e.g. `eval ppl` */
  recipe: string;
  source: Source;
  data: Source;
  config: string | undefined;
  split: string;
  settings: RunFacts["settings"];
  origin: Origin;
}

/** The facts for the record of an evaluation, or for its results. */
export async function evaluationFacts(
  model: Model,
  { name, recipe, source, data, config, split, settings, origin }: EvaluationFacts,
): Promise<RunFacts> {
  const { command, versions } = origin;
  return {
    ...{ name, recipe, command, settings },
    task: model.architecture.task.kind,
    versions: { ...versions },
    ...engineFacts(origin),
    seed: 0,
    model: await modelFacts(source),
    dataset: dataFacts(data, config),
    comparisonSplit: split,
  };
}

/**
 * Writes the results of an evaluation.
 * @param file path of the file, e.g. `results.json`
 * @throws RunError if it cannot be written
 */
export async function writeEvaluationResults(
  file: string,
  evaluated: Evaluated,
  facts: EvaluationFacts,
): Promise<void> {
  const record = await evaluationFacts(evaluated.model, facts);
  await writeResultsFile(file, finishedResults(record, [await evaluationRow(evaluated)]));
}
