// Groups rows that differ only in seeds and calibration data, and computes their mean and standard deviation. The rows
// of a group have the same method, budget, settings, versions and engine. A row that occurs in several files counts once.

import { groupBy } from "../../../hub/text/group-by.ts";
import type { ResultRecord } from "../results.ts";
import type { Named } from "./comparable.ts";
import { valuesOf } from "./metrics.ts";
import { choicesOf } from "./settings.ts";

/** Rows that differ only in seeds and calibration data. */
export interface Repeated {
  /** the first of the rows, with its own numbers; means are in `values` */
  first: ResultRecord;
  /** files of the rows */
  from: string[];
  rows: readonly ResultRecord[];
  /** mean of each metric and error that all rows have */
  values: Readonly<Record<string, number>>;
  /** sample standard deviation of each; undefined for one row */
  spread?: Readonly<Record<string, number>>;
}

/** Groups rows, in the order of their first rows. */
export function repeatsOf(all: readonly Named[]): Repeated[] {
  const groups = groupBy(distinct(all), ({ record }) => JSON.stringify(choicesOf(record)));
  return [...groups.values()].map((group) => {
    const rows = group.map(({ record }) => record);
    const measured = rows.map(valuesOf);
    const names = Object.keys(measured[0] ?? {}).filter((name) =>
      measured.every((values) => Object.hasOwn(values, name)),
    );
    const each = (of: (values: readonly number[]) => number) =>
      Object.fromEntries(names.map((name) => [name, of(measured.map((values) => values[name] as number))]));
    return {
      first: rows[0] as ResultRecord,
      from: [...new Set(group.map(({ from }) => from))],
      rows,
      values: each(mean),
      ...(rows.length > 1 && { spread: each(deviation) }),
    };
  });
}

/** Mean of a number that all rows of a group have. */
export function meanOf({ rows }: Repeated, of: (record: ResultRecord) => number | undefined): number | undefined {
  const values = rows.map(of);
  return values.every((value) => value !== undefined) ? mean(values) : undefined;
}

/** Rows without repetitions of the same measurement: of the same file, or of the same model before it was trained. */
function distinct(all: readonly Named[]): Named[] {
  const seen = new Set<string>();
  return all.filter(({ record }) => {
    const { speed: _, stageSeconds: _1, seconds: _2, peakMemory: _3, machine: _4, settings, ...own } = record;
    // Settings of the training do not matter before it.
    const key = JSON.stringify(record.stage === "before" ? own : { ...own, settings });
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** Mean of at least one number. */
export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Sample standard deviation of at least two numbers. */
export function deviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}
