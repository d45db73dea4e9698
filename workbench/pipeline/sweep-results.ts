// Collects the results of a sweep: the models of all runs with the values of their grid points, and the means over
// seeds. It writes results.json and a plot of the main metric by cost to the folder of the sweep.

import { join } from "node:path";
import { metricNamed, metricsOf, valueText } from "../../hub/card/comparison.ts";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { isDense } from "../../hub/model-folder/index.ts";
import { percent } from "../../hub/text/numbers.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { numberAxis, VIEW } from "../report/charts/chart.ts";
import { type Chart, chartToFiles } from "../report/index.ts";
import type { SweepRun } from "./sweep.ts";

/** The row of a trained model, or of one that is only converted, with the values of its grid point; or of the base model, without values. */
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
const isUntrained = ({ name }: ComparisonRow, rows: readonly ComparisonRow[]): boolean =>
  !rows.some((other) => other.name === name && other.stage === "after");

/** Writes results.json and, if a result can be plotted, the plot in three formats. @returns paths of the files */
export async function writeResults(folder: string, recipe: string, results: readonly SweepResult[]): Promise<string[]> {
  const table = join(folder, "results.json");
  await writeFileAtomically(table, `${JSON.stringify(results, null, 2)}\n`);
  const chart = costChart(recipe, results);
  return [table, ...(chart ? await chartToFiles(chart, join(folder, "cost")) : [])];
}

/** Settings that the legend leaves out, because the model's name or the axis shows them. */
const SAID = ["structure", "init", "allocate", "budget", "flops", "widths", "target", "threshold", "compare"];

/** Height of a line of the legend, px. */
const LEGEND_LINE = 18;
/** Maximum number of characters of a legend entry that shares its line with another one. */
const HALF_LINE = 30;

interface Point {
  x: number;
  y: number;
  series: string;
  /** ends of the error bar, if there are several runs */
  low?: number;
  high?: number;
}

/**
 * Plots the main metric by relative FLOPs: a curve for each variant, and the base model as a dashed line. Several seeds
 * are shown as their mean with an error bar of one standard deviation in each direction.
 * @returns undefined if no compressed or trained model has both a metric and relative FLOPs
 */
export function costChart(recipe: string, results: readonly SweepResult[]): Chart | undefined {
  const [metric] = metricsOf(results.slice(-1).map(({ metrics }) => ({ metrics: firstOf(metrics) })));
  if (metric === undefined) return undefined;
  const points = acrossSeeds(results).flatMap((row): (Point & { isBase: boolean })[] => {
    const [x, y, spread] = [row.relativeFlops?.reference, row.metrics[metric], row.spread?.[metric]];
    if (x === undefined || y === undefined) return [];
    const bar = spread === undefined ? {} : { low: y - spread, high: y + spread };
    return [{ x, y, ...bar, series: seriesOf(row), isBase: row.stage === "before" && isDense(row.structure) }];
  });
  const curves = points.filter(({ isBase }) => !isBase);
  const bars = curves.filter(({ low }) => low !== undefined);
  if (curves.length === 0) return undefined;
  const base = points.filter(({ isBase }) => isBase).map(({ y }) => ({ y, series: "to start with" }));
  const { label, isShare } = metricNamed(metric);
  const format = isShare ? { format: ".1%" } : {};
  const y = numberAxis(label, format);
  const x = {
    field: "x",
    type: "quantitative",
    title: "relative FLOPs (reference)",
    scale: { zero: false, nice: true },
    axis: { format: ".0%" },
  } as const;
  const bar = { x, y: numberAxis(label, { ...format, field: "low" }), y2: { field: "high" } };
  const names = [...new Set([...base, ...curves].map(({ series }) => series))];
  const columns = names.every((name) => name.length <= HALF_LINE) ? 2 : 1;
  const told = curves.map((point) => `${point.series} ${valueText(metric, point.y)} at ${percent(point.x)}`);
  return {
    title: `${recipe}: ${label} by cost`,
    description: `${label} by relative FLOPs: ${told.join(", ")}.`,
    spec: {
      ...VIEW,
      width: 560,
      height: 320 + LEGEND_LINE * (Math.ceil(names.length / columns) - 1),
      layer: [
        { data: { values: base }, mark: { type: "rule", strokeDash: [5, 4] }, encoding: { y } },
        ...(bars.length > 0 ? [{ data: { values: bars }, mark: "rule" as const, encoding: bar }] : []),
        { data: { values: curves }, mark: { type: "line", point: true }, encoding: { x, y } },
      ],
      encoding: {
        color: { field: "series", type: "nominal", scale: { domain: names }, legend: { columns, labelLimit: 0 } },
      },
    },
  };
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

const SEED = "seed";

/** Averages results that differ only in the seed. The mean has no seed among its values. The order is kept. */
export function acrossSeeds(results: readonly SweepResult[]): RepeatedResult[] {
  const groups = Map.groupBy(results, (row) => {
    const { [SEED]: seed, ...others } = row.values;
    return seed === undefined ? row : JSON.stringify([row.name, row.stage, others]);
  });
  return [...groups.values()].map((group) => {
    const [first] = group as [SweepResult];
    if (group.length === 1) return { ...first, runs: 1 };
    const { [SEED]: _, ...values } = first.values;
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

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function deviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}
