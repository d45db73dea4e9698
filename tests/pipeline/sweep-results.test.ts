// Which rows of a run are results of a sweep: of each variant the trained model, or the converted one if it was not trained.

import { expect, test } from "bun:test";
import { resultsOf } from "../../workbench/pipeline/results/sweep-results.ts";
import type { SweepRun } from "../../workbench/pipeline/sweep.ts";
import type { ComparisonRow } from "../../workbench/report/index.ts";

const row = (variant: string | undefined, stage: ComparisonRow["stage"], perplexity: number): ComparisonRow => ({
  ...{ name: variant ? "low rank" : "dense", structure: variant ? "lowrank" : "dense", stage, metrics: { perplexity } },
  ...(variant !== undefined && { variant }),
});

const run = (rows: readonly ComparisonRow[]): SweepRun => ({
  point: { key: "budget-0.5", values: { budget: "0.5" }, flags: ["--budget=0.5"] },
  folder: "sweep/budget-0.5",
  status: "finished",
  rows,
});

test("a converted model is a result unless the same variant was trained, though titles leave out seeds", () => {
  const [base, trained] = [row(undefined, "before", 10), row("lowrank", "after", 11)];
  const other = row("lowrank-calibration-seed-1", "before", 13);
  const results = resultsOf([run([base, row("lowrank", "before", 12), trained, other])]);
  const values = { budget: "0.5" };
  expect(results).toEqual([
    { ...base, values: {} },
    { ...trained, values },
    { ...other, values },
  ]);
});
