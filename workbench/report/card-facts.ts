// What a run's own files say for the card of its model. What only the recipe knows, where the model is pushed to and
// which files lie beside the card, it adds.

import type { CardFacts, ComparisonRow, MeasuredMetric } from "../../hub/card/index.ts";
import type { Run } from "./run-files.ts";

export interface CardOptions {
  /** the row of the comparison that is this model */
  model: ComparisonRow;
  /** that its metrics were measured on */
  split: string;
}

/** @throws TypeError when the run has no run.json */
export function cardFacts({ record, comparison }: Run, { model, split }: CardOptions): CardFacts {
  if (!record) throw new TypeError("a card needs the run.json of its run");
  const { name, task, command, versions, engine, device, precision, seed, settings, model: base, dataset } = record;
  const metrics: MeasuredMetric[] = Object.entries(model.metrics).map(([type, value]) => ({ type, value, split }));
  return {
    title: name,
    task,
    structure: model.structure,
    ...(base && { baseModel: base.name }),
    ...(base?.revision !== undefined && { baseRevision: base.revision }),
    ...(dataset && {
      dataset: {
        id: dataset.name,
        ...(dataset.config !== undefined && { config: dataset.config }),
        ...(dataset.revision !== undefined && { revision: dataset.revision }),
      },
    }),
    metrics,
    ...(comparison && { comparison }),
    ...(model.relativeFlops && { relativeFlops: model.relativeFlops }),
    command,
    versions,
    engine,
    ...(device !== undefined && { device }),
    precision,
    seed,
    settings,
  };
}
