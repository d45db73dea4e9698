// Checks whether results can be compared: they must be of the same task, made from the same model, and measured with the
// same metric on the same data in the same way. Everything else may differ and is shown: settings.ts of this folder.

import type { ResultRecord } from "../results.ts";
import { RunError } from "../run-record.ts";
import { mainMetric } from "./metrics.ts";

/** A record and the file from which it was read. */
export interface Named {
  /** path as the user gave it */
  from: string;
  record: ResultRecord;
}

type Fact = (record: ResultRecord) => string | undefined;

/** What must be the same in all rows, by name. A row that does not have the fact agrees with all. */
const SAME: Readonly<Record<string, Fact>> = {
  task: ({ task }) => task,
  model: ({ model }) => model && (model.base ?? model.name),
  "model's revision": ({ model }) => (model?.base === undefined ? model?.revision : model.baseRevision),
  data: ({ dataset, split, metrics }) =>
    dataset && isMeasured(metrics)
      ? [at(dataset.name, dataset.revision), dataset.config, split].filter((part) => part !== undefined).join(", ")
      : undefined,
  measurement: ({ measured }) =>
    measured &&
    Object.entries(measured)
      .map(([name, value]) => `${name} ${value}`)
      .sort()
      .join(", "),
  metric: ({ metrics }) => (isMeasured(metrics) ? mainMetric([metrics]) : undefined),
};

const at = (name: string, revision: string | undefined) => (revision === undefined ? name : `${name}@${revision}`);

const isMeasured = (metrics: ResultRecord["metrics"]): boolean => Object.keys(metrics).length > 0;

/** Why results cannot be compared, one clause for each reason; none if they can. */
export function differences(all: readonly Named[]): string[] {
  return Object.entries(SAME).flatMap(([name, of]) => {
    const places = new Map<string, Set<string>>();
    for (const { from, record } of all) {
      const value = of(record);
      if (value !== undefined) places.set(value, (places.get(value) ?? new Set()).add(from));
    }
    if (places.size < 2) return [];
    const [one, two] = shortened([...places.keys()].slice(0, 2) as [string, string]);
    const [first, second] = [...places.values()].map((files) => [...files][0] as string);
    const inFiles = first === second ? `in ${first}` : `${first} against ${second}`;
    return [`the ${name} differs (${inFiles}: ${one} against ${two})`];
  });
}

/** Leaves out the parts that two lists share, unless nothing would be left. */
function shortened([one, two]: [string, string]): [string, string] {
  const [first, second] = [one.split(", "), two.split(", ")];
  const shown = (own: string[], other: string[]) => own.filter((part) => !other.includes(part)).join(", ") || "none";
  return [shown(first, second), shown(second, first)];
}

/**
 * Checks that results can be compared.
 * @throws RunError that names every reason why they cannot
 */
export function expectComparable(all: readonly Named[]): void {
  const reasons = differences(all);
  if (reasons.length === 0) return;
  const files = [...new Set(all.map(({ from }) => from))].join(", ");
  throw new RunError(
    `cannot be compared: ${reasons.join("; ")}; give results of one model, measured alike, or pass --force`,
    { file: files },
  );
}
