// The choices that made a row: its method, budget, settings, versions and engine, without seeds, calibration data and
// whatever the row does not depend on. Rows with the same choices are repetitions; choices that differ are listed.

import type { ResultRecord } from "../results.ts";

/** A name and its value as text, e.g. `learningRate` and `0.001`. */
type Choices = Record<string, string>;

/** Settings that belong to the main variant of a run. A row has its own values in method and budget. */
const OF_VARIANT = ["structure", "init", "allocate", "budget", "flops", "widths", "compare"];
/** Settings that have no effect on the numbers of a row. */
const OF_RUN = ["out", "report", "results", "microBatch", "workers", "threads"];
const SEEDS = /(^s|S)eed$/;

/** The choices of a row. Rows of models before any work have no settings: they depend on none. */
export function choicesOf(record: ResultRecord): Choices {
  const { name, stage, structure, method, budget, settings, measured, split, versions, engine, device, precision } =
    record;
  const isBase = method === undefined && stage === "before";
  const skipped = [...OF_VARIANT, ...OF_RUN, ...Object.keys(method ?? {})];
  const own = Object.entries(isBase ? {} : settings).filter(([key]) => !skipped.includes(key) && !SEEDS.test(key));
  return Object.fromEntries(
    [
      ...Object.entries({ name, stage, structure, ...method, ...budget, split, engine, device, precision }),
      ...own,
      ...Object.entries(versions).map(([key, value]) => [`version of ${key}`, value] as const),
      ...Object.entries(measured ?? {}).map(([key, value]) => [`measured ${key}`, value] as const),
      // Models with the same method are the same choice, whatever their folders are called.
      ["model", method ? (record.model?.base ?? record.model?.name) : record.model?.name],
      ["revision", record.model?.base === undefined ? record.model?.revision : record.model.baseRevision],
      ["dataset", record.dataset],
    ].flatMap(([key, value]) => (value === undefined ? [] : [[key as string, textOf(value)] as const])),
  );
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** Choices that a table shows in its columns or in the title of the row. */
const SHOWN = ["name", "stage", "structure", "init", "allocation", "budget", "flops", "widths"];

/**
 * Settings, versions and engines that differ between rows, with their values. A row without a setting, such as one of
 * the base model, agrees with all, but an option that a method does not have is unset.
 */
export function differing(all: readonly ResultRecord[]): Record<string, readonly string[]> {
  const each = all.map(choicesOf);
  const names = [...new Set(each.flatMap(Object.keys))].filter((name) => !SHOWN.includes(name));
  const ofMethods = new Set(all.flatMap(({ method }) => Object.keys(method ?? {})));
  const textAt = (name: string, i: number): string | undefined =>
    each[i]?.[name] ?? (ofMethods.has(name) && all[i]?.method ? "unset" : undefined);
  const found = names.map((name) => {
    const values = all.map((_, i) => textAt(name, i)).filter((value) => value !== undefined);
    return [name, [...new Set(values)]] as const;
  });
  return Object.fromEntries(found.filter(([, values]) => values.length > 1));
}

/** Seeds and calibration data that differ within groups of repetitions. */
export function repeatedOver(groups: readonly (readonly ResultRecord[])[]): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  const note = (name: string, values: readonly (string | undefined)[]) => {
    const distinct = [...new Set(values.filter((value) => value !== undefined))];
    if (distinct.length > 1) found[name] = [...new Set([...(found[name] ?? []), ...distinct])];
  };
  for (const rows of groups) {
    for (const name of new Set(rows.flatMap(({ seeds }) => Object.keys(seeds ?? {})))) {
      note(
        name,
        rows.map(({ seeds }) => seeds?.[name]?.toString()),
      );
    }
    note(
      "calibration",
      rows.map(({ calibration }) => calibration?.sha256.slice(0, 12)),
    );
  }
  return found;
}

/** Settings in the label of a row; all that differ are listed below the table. */
const MOST_LABELS = 3;

/** What distinguishes each row from others of the same name and stage: `learningRate 0.002`. */
export function labelsOf(all: readonly ResultRecord[]): string[] {
  const each = all.map(choicesOf);
  return each.map((own, i) => {
    const alike = each.filter((other, j) => j !== i && other.name === own.name && other.stage === own.stage);
    const names = Object.keys(own).filter(
      (name) => !SHOWN.includes(name) && alike.some((other) => other[name] !== own[name]),
    );
    const shown = names.slice(0, MOST_LABELS).map((name) => `${name} ${own[name] ?? "unset"}`);
    return [...shown, ...(names.length > MOST_LABELS ? ["…"] : [])].join(", ");
  });
}
