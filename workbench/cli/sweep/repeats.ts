// Runs of a sweep that differ by their seed alone, as one result: the mean of what they found, and how far they spread.

import type { SweepResult } from "./results.ts";

/** What several seeds found together, or one result as it is. */
export interface RepeatedResult extends SweepResult {
  /** how many runs it is the mean of */
  runs: number;
  /** sample standard deviation of each metric; nothing for one run */
  spread?: Readonly<Record<string, number>>;
}

const SEED = "seed";

/** In the order of the first of each; the values are without the seed where there are several. */
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

/** What a row says besides its metrics, where every one of them says it. */
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
