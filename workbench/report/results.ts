// results.json: everything about the results of a run in one file, to be compared with others: what was measured, how,
// with which settings, seeds and versions, and on which machine. It is derived from run.json and comparison.json whenever
// one of them changes (run-files.ts), so nothing is edited here. Its JSON schema is docs/schema/results.schema.json, and
// docs/results.md describes it.

import { z } from "zod";
import { isDense } from "../../hub/model-folder/index.ts";
import { formatVersion } from "../../hub/text/json.ts";
import { type ComparisonRow, comparisonRowSchema } from "../evaluate/comparison-row.ts";
import { type RunRecord, runRecordSchema } from "./run-record.ts";

/** Version of results.json, see docs/format.md. */
const FORMAT = 1;

/** Facts that the rows of one run share. In the results of several runs, a row that differs has its own. */
const shared = runRecordSchema.pick({
  versions: true,
  engine: true,
  device: true,
  precision: true,
  machine: true,
  model: true,
  dataset: true,
});

const rowSchema = comparisonRowSchema.extend({
  ...shared.partial().shape,
  settings: runRecordSchema.shape.settings
    .optional()
    .describe("settings of the row's run that differ from those of the file"),
});

const described = {
  format: formatVersion(FORMAT).describe("version of this format"),
  ...runRecordSchema.pick({
    name: true,
    recipe: true,
    command: true,
    status: true,
    error: true,
    started: true,
    updated: true,
    task: true,
    settings: true,
    seed: true,
  }).shape,
  ...shared.shape,
  split: z.string().optional().describe("split on which the metrics were measured, e.g. `test`"),
  rows: z.array(rowSchema).describe("the measured models, in the order of their measurement"),
};

/** Schema of results.json. */
export const resultsSchema = z
  .object(described)
  .describe("Results of one run of the GBLR workbench, or of several runs that were put together");

/** results.json */
export type Results = z.infer<typeof resultsSchema>;
/** A row of results.json. */
export type ResultRow = Results["rows"][number];

/** The JSON schema (draft 2020-12) of results.json. A reader ignores fields that the schema does not name. */
export function resultsJsonSchema(): object {
  return z.toJSONSchema(resultsSchema, { io: "input" });
}

/** Settings that say where a run is kept or published, not how its results were made. */
const PLACES = ["run", "fresh", "push", "private", "checkpointEvery", "shardOptimizer", "keepModels", "tensorboard"];

/** Derives results.json from run.json and comparison.json. */
export function resultsOf(record: RunRecord, rows: readonly ComparisonRow[]): Results {
  const { format: _, settings, targetCost: _1, steps: _2, comparisonSplit: split, ...facts } = record;
  const kept = Object.fromEntries(Object.entries(settings).filter(([name]) => !PLACES.includes(name)));
  return { format: FORMAT, ...facts, settings: kept, ...(split !== undefined && { split }), rows: [...rows] };
}

type SharedName = keyof typeof shared.shape;
const SHARED = Object.keys(shared.shape) as SharedName[];

/** A row with all facts of its file: what it does not have itself is that of the file. */
export type ResultRecord = Omit<ResultRow, SharedName | "settings"> &
  Pick<Results, SharedName | "task" | "split" | "settings">;

/** Whether a row is of the model to start from, which was neither converted nor trained. */
export const isBase = ({ structure, method, stage }: ComparisonRow): boolean =>
  isDense(structure) && method === undefined && stage === "before";

/** The rows of results.json, each with the facts of the file. */
export function recordsOf({ rows, task, split, settings, ...facts }: Results): ResultRecord[] {
  const common = Object.fromEntries(SHARED.map((name) => [name, facts[name]])) as Pick<Results, SharedName>;
  return rows.map((row) => ({
    ...common,
    task,
    ...(split !== undefined && { split }),
    ...row,
    settings: { ...settings, ...row.settings },
  }));
}

/** Name, recipe and command of results that are put together. */
export interface MergedNames {
  name: string;
  recipe: string;
  command: string;
}

/**
 * Puts the results of several runs of one task together. The settings and facts that all runs share are those of the
 * file; a row has the others. Rows of the base model that are the same in several runs appear once.
 * @param all results of at least one run
 */
export function mergedResults(all: readonly Results[], names: MergedNames): Results {
  const [first] = all as [Results];
  const sameInAll = (of: (results: Results) => unknown) => all.every((each) => equal(of(each), of(first)));
  const common = Object.keys(first.settings).filter((name) => sameInAll(({ settings }) => settings[name]));
  const own = SHARED.filter((name) => !sameInAll((results) => results[name]));
  const rows = all.flatMap((results) => {
    const facts = Object.fromEntries(own.map((name) => [name, results[name]]));
    const settings = Object.fromEntries(Object.entries(results.settings).filter(([name]) => !common.includes(name)));
    const hasOwn = Object.keys(settings).length > 0;
    return results.rows.map((row): ResultRow => ({ ...row, ...facts, ...(hasOwn && { settings }) }));
  });
  const seen = new Set<string>();
  const distinct = rows.filter((row) => {
    if (row.method !== undefined || row.stage !== "before") return true;
    const { settings: _, speed: _1, peakMemory: _2, stageSeconds: _3, ...measured } = row;
    const key = JSON.stringify(measured);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
  const finished = all.every(({ status }) => status === "finished");
  const { error: _, ...rest } = first;
  return {
    ...rest,
    ...names,
    status: finished ? "finished" : (all.find(({ status }) => status !== "finished") as Results).status,
    started: all.map(({ started }) => started).sort()[0] as string,
    updated: all
      .map(({ updated }) => updated)
      .sort()
      .at(-1) as string,
    settings: Object.fromEntries(common.map((name) => [name, first.settings[name] as never])),
    rows: distinct,
  };
}

const equal = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
