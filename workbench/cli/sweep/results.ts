// What a sweep found as one table: a line a model, and the lines for a terminal.

import { metricNamed, metricsOf, valueText } from "../../../hub/card/metric-names.ts";
import { percent } from "../../../hub/text/numbers.ts";
import type { SweepRun } from "../../pipeline/sweep.ts";
import { acrossSeeds, type RepeatedResult } from "../../pipeline/sweep-results.ts";
import type { ComparisonRow } from "../../report/index.ts";
import { type Cell, formatBytes, type Palette, table, threeDigits } from "../shared/terminal.ts";

/** A model at its end, with the values of its point; without any, the model that all began with. */
export interface SweepResult extends ComparisonRow {
  values: Readonly<Record<string, string>>;
}

/** The model as it was once, then of each run those that were trained. */
export function resultsOf(runs: readonly SweepRun[]): SweepResult[] {
  const base = new Map<string, SweepResult>();
  const trained = runs.flatMap(({ point: { values }, rows }) =>
    rows.flatMap((row): SweepResult[] => (row.stage === "after" ? [{ ...row, values }] : [])),
  );
  for (const { rows } of runs) {
    // Random starts and other models differ from run to run; the same one is measured alike.
    const [first] = rows;
    if (first) base.set(JSON.stringify([first.name, first.metrics]), { ...first, values: {} });
  }
  return [...base.values(), ...trained];
}

/** Lines of the table, for a terminal. */
export function resultLines(all: readonly SweepResult[], palette: Palette): string[] {
  const results = acrossSeeds(all);
  const repeated = results.some(({ runs }) => runs > 1);
  const settings = [...new Set(results.flatMap(({ values }) => Object.keys(values)))];
  const metrics = metricsOf(results);
  const right = (text: string): Cell => ({ text, align: "right" });
  const labels = metrics.map((name) => metricNamed(name).label);
  const heading = [
    ...settings,
    "model",
    ...(repeated ? ["runs"] : []),
    ...labels,
    "FLOPs (reference)",
    "FLOPs (all)",
    "file",
    "seconds",
  ];
  const body = results.map((row): Cell[] => [
    ...settings.map((name) => ({ text: row.values[name] ?? "" })),
    { text: row.name },
    ...(repeated ? [right(String(row.runs))] : []),
    ...metrics.map((name) => right(metricText(name, row))),
    right(row.relativeFlops ? percent(row.relativeFlops.reference) : ""),
    right(row.relativeFlops ? percent(row.relativeFlops.actual) : ""),
    right(row.fileBytes === undefined ? "" : formatBytes(row.fileBytes)),
    right(row.seconds === undefined ? "" : threeDigits(row.seconds)),
  ]);
  const head = heading.map(
    (text, i): Cell => ({ text, paint: palette.dim, align: i <= settings.length ? "left" : "right" }),
  );
  return table([head, ...body]);
}

/** `54.05 % ± 0.42 %` of several runs. */
function metricText(name: string, { metrics, spread }: RepeatedResult): string {
  const value = metrics[name];
  if (value === undefined) return "";
  return spread ? `${valueText(name, value)} ± ${valueText(name, spread[name] as number)}` : valueText(name, value);
}
