// What bench/compression.ts says about results that are written here: the best of each structure, and the goals.

import { expect, test } from "bun:test";
import { bestOf, goalLines, layerGoalLines, layerPairs, reorderPairs } from "../../bench/compression/best.ts";
import type { Repeated } from "../../workbench/report/compare/repeats.ts";

interface Own {
  structure: string;
  perplexity: number;
  budget?: number;
  init?: string;
  sequential?: boolean;
  reorder?: string;
}

function row({
  structure,
  perplexity,
  budget = 0.6,
  init = "activation",
  sequential = true,
  reorder = "energy",
}: Own): Repeated {
  const method = { init, allocation: "uniform", sequential, reorder };
  const name = `${structure}, ${init}, budget ${100 * budget} %`;
  const first = { name, structure, method, budget: { budget }, variant: `${structure}-${init}-${budget}-${reorder}` };
  return { first, from: [], rows: [], values: { perplexity } } as unknown as Repeated;
}

const ROWS = [
  row({ structure: "lowrank", perplexity: 50, init: "svd" }),
  row({ structure: "lowrank", perplexity: 40 }),
  row({ structure: "lowrank", perplexity: 30, sequential: false }),
  row({ structure: "gblr", perplexity: 30, init: "search" }),
  row({ structure: "monarch", perplexity: 60 }),
  row({ structure: "unstructured", perplexity: 25, init: "wanda", sequential: false }),
  row({ structure: "gblr", perplexity: 39, budget: 0.4, init: "search" }),
  row({ structure: "lowrank", perplexity: 40, budget: 0.4 }),
  row({ structure: "lowrank", perplexity: 90, budget: 0.5, sequential: false }),
  row({ structure: "gblr", perplexity: 85, budget: 0.5, init: "search", sequential: false, reorder: "none" }),
  row({ structure: "gblr", perplexity: 80, budget: 0.5, init: "search", sequential: false }),
];

test("the best of a structure is of those rows that had sequential inputs, if it has any", () => {
  const best = bestOf(ROWS).map(({ budget, structure, perplexity }) => [budget, structure, perplexity]);
  expect(best).toEqual([
    [0.6, "lowrank", 40],
    [0.6, "gblr", 30],
    [0.6, "monarch", 60],
    [0.6, "unstructured", 25],
    [0.4, "gblr", 39],
    [0.4, "lowrank", 40],
  ]);
});

test("a goal is met or missed by the ratio to the best low rank, and better structures are named", () => {
  const [at60, at40] = goalLines(bestOf(ROWS)) as [string, string];
  expect(at60).toMatch(/^At 60 %: gblr, search 30\.0 against lowrank, activation 40\.0, ratio 0\.750\. .*, met\. /);
  expect(at60).toContain(", met. Lower: unstructured, wanda 25.0. Higher: monarch, activation 60.0.");
  expect(at40).toMatch(/ratio 0\.975\. Goal: at most 0\.8, \*\*missed\*\*\.$/);
});

test("layers are compared where both variants saw the inputs of the dense model", () => {
  expect(layerPairs("run", ROWS)).toEqual([
    { reference: "run/compare/lowrank-activation-0.5-energy", folder: "run/compare/gblr-search-0.5-energy" },
  ]);
  expect(reorderPairs("run", ROWS)).toEqual([
    { reference: "run/compare/gblr-search-0.5-none", folder: "run/compare/gblr-search-0.5-energy" },
  ]);
  const layers = [
    { layer: "a", kind: "a", reference: 0.1, error: 0.09 },
    { layer: "b", kind: "b", reference: 0.3, error: 0.21 },
  ];
  const [line] = layerGoalLines([{ name: "gblr, budget 50 %", reference: "low rank", layers }]);
  expect(line).toContain("ratio of means 0.750, mean of ratios 0.800. Goal: at most 0.8, met.");
});
