// Collects the results of a sweep: the models of all runs with the values of their grid points, and the means over
// seeds. It writes results.json and a plot of the main metric by cost to the folder of the sweep.

import { join } from "node:path";
import { metricNamed, metricsOf } from "../../../hub/card/comparison.ts";
import { isDense } from "../../../hub/model-folder/index.ts";
import { groupBy } from "../../../hub/text/group-by.ts";
import type { ComparisonRow } from "../../evaluate/comparison-row.ts";
import { type CostPoint, metricByCostChart } from "../../report/charts/by-cost.ts";
import { deviation, mean } from "../../report/compare/repeats.ts";
import { type Chart, chartToFiles, RUN_FILES } from "../../report/index.ts";
import { mergedResults } from "../../report/results.ts";
import { readResults, writeResultsFile } from "../../report/results-file.ts";
import { isRowOf } from "../run-folder.ts";
import type { SweepRun } from "../sweep.ts";
import { isSeed } from "../variant-settings.ts";

/**
 * The row of a trained model, or of one that is only converted, with the values of its grid point; or of the base model,
 * without values.
 */
export interface SweepResult extends ComparisonRow {
  values: Readonly<Record<string, string>>;
}

/** The results of all runs: first the base model, then the models of each run; of a variant the trained one, if any. */
export function resultsOf(runs: readonly SweepRun[]): SweepResult[] {
  const base = new Map<string, SweepResult>();
  const models = runs.flatMap(({ point: { values }, status, rows: [, ...rows] }) => {
    const isResult = (row: ComparisonRow) => row.stage === "after" || (status === "finished" && isUntrained(row, rows));
    return rows.filter(isResult).map((row): SweepResult => ({ ...row, values }));
  });
  for (const { rows } of runs) {
    // All runs have the same row for the base model, unless the base model depends on the grid point.
    const [first] = rows;
    if (first) base.set(JSON.stringify([first.name, first.metrics]), { ...first, values: {} });
  }
  return [...base.values(), ...models];
}

/** Whether a row is that of a converted model that was not trained. */
const isUntrained = (row: ComparisonRow, rows: readonly ComparisonRow[]): boolean =>
  !rows.some((other) => other.stage === "after" && isRowOf(other, row));

/** What `writeSweepResults` writes. */
export interface SweptResults {
  /** name of the recipe */
  recipe: string;
  /** the command line as typed */
  command: string;
  runs: readonly SweepRun[];
  results: readonly SweepResult[];
}

/**
 * Writes results.json with the rows of all finished runs and, if a result can be plotted, the plot in three formats.
 * @returns paths of the files
 */
export async function writeSweepResults(
  folder: string,
  { recipe, command, runs, results }: SweptResults,
): Promise<string[]> {
  const finished = runs.filter(({ status }) => status === "finished");
  const read = await Promise.all(finished.map(async (run) => (await readResults(run.folder)).results));
  const table = join(folder, RUN_FILES.results);
  const names = { name: `sweep of ${recipe}`, recipe: `sweep ${recipe}`, command };
  if (read.length > 0) await writeResultsFile(table, mergedResults(read, names));
  const chart = sweepChart(recipe, results);
  return [...(read.length > 0 ? [table] : []), ...(chart ? await chartToFiles(chart, join(folder, "cost")) : [])];
}

/** Settings that the legend leaves out, because the model's name or the axis shows them. */
const SAID = ["structure", "init", "allocate", "budget", "flops", "widths", "target", "threshold", "compare"];

/**
 * Plots the main metric by relative FLOPs: a curve for each variant, and the base model as a dashed line. Several seeds
 * are shown as their mean with an error bar of one standard deviation in each direction.
 * @returns undefined if no compressed or trained model has both a metric and relative FLOPs
 */
export function sweepChart(recipe: string, results: readonly SweepResult[]): Chart | undefined {
  const [metric] = metricsOf(results.slice(-1).map(({ metrics }) => ({ metrics: firstOf(metrics) })));
  if (metric === undefined) return undefined;
  const points = acrossSeeds(results).flatMap((row): CostPoint[] => {
    const isBase = row.stage === "before" && isDense(row.structure);
    const [x, y] = [row.relativeFlops?.reference, row.metrics[metric]];
    if (x === undefined || y === undefined) return [];
    const series = isBase ? "to start with" : seriesOf(row);
    return [{ x: isBase ? undefined : x, y, spread: row.spread?.[metric], series }];
  });
  const x = { title: "relative FLOPs (reference)", isShare: true };
  return metricByCostChart({ title: `${recipe}: ${metricNamed(metric).label} by cost`, metric, x, points });
}

/** The main metric, which is the first. */
const firstOf = (metrics: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(metrics).slice(0, 1));

function seriesOf({ name, values }: SweepResult): string {
  const others = Object.entries(values).filter(([setting]) => !SAID.includes(setting));
  return [name, ...others.map(([setting, value]) => `${setting} ${value}`)].join(", ");
}

/** The mean of the results over several seeds, or a single result. */
export interface RepeatedResult extends SweepResult {
  /** number of runs in the mean */
  runs: number;
  /** sample standard deviation of each metric; undefined for one run */
  spread?: Readonly<Record<string, number>>;
}

/** Values without seeds. */
const withoutSeeds = (values: SweepResult["values"]): SweepResult["values"] =>
  Object.fromEntries(Object.entries(values).filter(([name]) => !isSeed(name)));

/** Averages results that differ only in seeds. The mean has no seed among its values. The order is kept. */
export function acrossSeeds(results: readonly SweepResult[]): RepeatedResult[] {
  const groups = groupBy(results, (row) => {
    const others = withoutSeeds(row.values);
    const isRepeated = Object.keys(others).length < Object.keys(row.values).length;
    return isRepeated ? JSON.stringify([row.name, row.stage, others]) : row;
  });
  return [...groups.values()].map((group) => {
    const [first] = group as [SweepResult];
    if (group.length === 1) return { ...first, runs: 1 };
    const values = withoutSeeds(first.values);
    const { name, structure, stage } = first;
    const names = Object.keys(first.metrics).filter((name) =>
      group.every(({ metrics }) => Object.hasOwn(metrics, name)),
    );
    const each = (name: string) => group.map(({ metrics }) => metrics[name] as number);
    return {
      name,
      structure,
      stage,
      ...meansOf(group),
      values,
      runs: group.length,
      metrics: Object.fromEntries(names.map((name) => [name, mean(each(name))])),
      spread: Object.fromEntries(names.map((name) => [name, deviation(each(name))])),
    };
  });
}

/** Means of the other numbers, if all rows have them. */
function meansOf(group: readonly SweepResult[]): Partial<SweepResult> {
  const meanOf = (of: (row: SweepResult) => number | undefined) => {
    const values = group.map(of);
    return values.every((value) => value !== undefined) ? mean(values) : undefined;
  };
  const reference = meanOf(({ relativeFlops }) => relativeFlops?.reference);
  const actual = meanOf(({ relativeFlops }) => relativeFlops?.actual);
  const amounts = (["parameters", "fileBytes", "seconds"] as const).flatMap((name) => {
    const amount = meanOf((row) => row[name]);
    return amount === undefined ? [] : [[name, amount]];
  });
  return {
    ...(reference !== undefined && actual !== undefined && { relativeFlops: { reference, actual } }),
    ...Object.fromEntries(amounts),
  };
}
