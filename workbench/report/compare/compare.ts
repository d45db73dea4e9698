// Compares the results of several runs: reads them, checks that they can be compared, averages repetitions, and makes the
// table, the plot and the list of settings that differ. `gblr compare` prints them.

import { metricNamed } from "../../../hub/card/comparison.ts";
import { metricByCostChart } from "../charts/by-cost.ts";
import type { Chart } from "../charts/chart.ts";
import { isBase, type ResultRecord, recordsOf } from "../results.ts";
import { readResults } from "../results-file.ts";
import { RunError } from "../run-record.ts";
import { differences, expectComparable, type Named } from "./comparable.ts";
import { ABSCISSAS, type AbscissaName, mainMetric, valuesOf } from "./metrics.ts";
import { meanOf, type Repeated, repeatsOf } from "./repeats.ts";
import { differing, labelsOf, repeatedOver } from "./settings.ts";
import { type CompareTable, compareTable } from "./table.ts";

/** Options of `compareResults`. */
export interface CompareOptions {
  /** metrics of the table; the first one is plotted. Default: the main metric */
  metrics?: readonly string[] | undefined;
  /** quantity on the x axis. Default `linear` */
  x?: AbscissaName | undefined;
  /** shows only the rows before or after fine-tuning, besides models that were not converted. Default: both */
  stage?: ResultRecord["stage"] | undefined;
  /** compares results of different models, data or metrics too. Default false */
  force?: boolean | undefined;
}

/** Results side by side. */
export interface Compared {
  /** metrics of the table, the plotted one first */
  metrics: string[];
  groups: Repeated[];
  table: CompareTable;
  /** undefined if no row has the metric and the quantity of the x axis */
  chart?: Chart;
  /** settings, versions and engines that differ between rows, with their values */
  differing: Readonly<Record<string, readonly string[]>>;
  /** seeds and calibration data over which rows are averaged */
  repeatedOver: Readonly<Record<string, readonly string[]>>;
  /** sentences about what the reader should know */
  notes: string[];
}

/**
 * Compares results.
 * @param paths results.json, or folders with it: of runs, sweeps or converted models
 * @throws RunError if a file cannot be read, or the results cannot be compared
 */
export async function compareResults(paths: readonly string[], options: CompareOptions = {}): Promise<Compared> {
  const { x = "linear", stage, force = false } = options;
  const read = await Promise.all(paths.map(async (path) => ({ path, ...(await readResults(path)) })));
  const all = read
    .flatMap(({ path, results }) => recordsOf(results).map((record): Named => ({ from: path, record })))
    .filter(({ record }) => stage === undefined || record.stage === stage || isBase(record));
  if (all.length === 0) {
    throw new RunError(`there is no row${stage === undefined ? "" : ` ${stage} fine-tuning; leave out --stage`}`, {
      file: paths.join(", "),
    });
  }
  if (!force) expectComparable(all);
  const metrics = [...(options.metrics ?? [usualMetric(all)])];
  const [metric] = metrics as [string];
  const groups = repeatsOf(all);
  for (const name of metrics) {
    if (groups.some(({ values }) => Object.hasOwn(values, name))) continue;
    const known = [...new Set(groups.flatMap(({ values }) => Object.keys(values)))].join(", ");
    throw new RunError(`there is no metric "${name}"; give one of ${known || "none"}`, { file: paths.join(", ") });
  }
  const chart = chartOf(groups, { metric, x });
  const firsts = groups.map(({ first }) => first);
  return {
    metrics,
    groups,
    table: compareTable(groups, metrics),
    ...(chart && { chart }),
    differing: differing(firsts),
    repeatedOver: repeatedOver(groups.map(({ rows }) => rows)),
    notes: [
      ...(force ? differences(all).map((reason) => `compared by force although ${reason}`) : []),
      ...read.flatMap(({ path, results: { status } }) =>
        status === "finished"
          ? []
          : [`${path} is ${status === "running" ? "running or was killed" : status}: its rows so far are shown`],
      ),
      ...machineNotes(all),
    ],
  };
}

function usualMetric(all: readonly Named[]): string {
  const measured = mainMetric(all.map(({ record }) => record.metrics));
  return (
    measured ??
    Object.keys(all.map(({ record }) => valuesOf(record)).find((values) => Object.keys(values).length > 0) ?? {})[0] ??
    "perplexity"
  );
}

function machineNotes(all: readonly Named[]): string[] {
  const machines = new Set(
    all.flatMap(({ record: { machine } }) => (machine ? [`${machine.processor}, ${machine.cores} cores`] : [])),
  );
  return machines.size > 1 ? [`times and speeds are of different machines: ${[...machines].join("; ")}`] : [];
}

/** One curve for each method; models that were not converted are lines across the chart. */
function chartOf(groups: readonly Repeated[], { metric, x }: { metric: string; x: AbscissaName }): Chart | undefined {
  const labels = labelsOf(groups.map(({ first }) => first));
  const converted = groups.filter(({ first }) => !isBase(first));
  const hasStages = new Set(converted.map(({ first }) => first.stage)).size > 1;
  const points = groups.flatMap((group, i) => {
    const y = group.values[metric];
    if (y === undefined) return [];
    const { name, stage } = group.first;
    const label = [withoutBudget(name), labels[i]].filter(Boolean).join(", ");
    const series = isBase(group.first) || !hasStages ? label : `${label}, ${stage} fine-tuning`;
    return [
      {
        x: isBase(group.first) ? undefined : meanOf(group, ABSCISSAS[x].of),
        y,
        spread: group.spread?.[metric],
        series,
      },
    ];
  });
  const { label } = metricNamed(metric);
  // A converted model without the quantity would be drawn as a line.
  const drawn = points.filter((point, i) => point.x !== undefined || isBase((groups[i] as Repeated).first));
  return metricByCostChart({ title: `${label} by cost`, metric, x: ABSCISSAS[x], points: drawn });
}

/** The title of a variant without its budget, for charts and tables that show the budget elsewhere. */
export const withoutBudget = (title: string): string => title.replace(/, budget [\d.]+ %/, "");
