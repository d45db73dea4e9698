// The best row of each structure at each budget, and how they compare with the goals of the project.

import path from "node:path";
import { threeDigits } from "../../hub/text/numbers.ts";
import { metricByCostChart } from "../../workbench/report/charts/by-cost.ts";
import { withoutBudget } from "../../workbench/report/compare/compare.ts";
import type { ComparedLayers, LayerPair } from "../../workbench/report/compare/layers.ts";
import { ABSCISSAS } from "../../workbench/report/compare/metrics.ts";
import type { Repeated } from "../../workbench/report/compare/repeats.ts";
import type { Chart } from "../../workbench/report/index.ts";
import { structureNamed } from "../../workbench/structures/registry.ts";

const METRIC = "perplexity";
const OURS = "gblr";
const LOW_RANK = "lowrank";

/** Goals: at this budget, perplexity of the best GBLR divided by that of the best low rank. */
const GOALS: Readonly<Record<number, number>> = { 0.8: 0.9, 0.6: 0.8, 0.4: 0.8 };
/** Goals: at this budget, mean output error of GBLR divided by that of whitened low rank. */
const LAYER_GOALS: Readonly<Record<number, number>> = { 0.5: 0.8, 0.3: 0.88 };

/** The best row of a structure at a budget. */
export interface Best {
  budget: number;
  structure: string;
  group: Repeated;
  perplexity: number;
}

const budgetOf = ({ first }: Repeated): number | undefined => first.budget?.budget;

/** The budgets of the rows, the largest first. */
export const budgetsOf = (groups: readonly Repeated[]): number[] =>
  [...new Set(groups.flatMap((group) => budgetOf(group) ?? []))].sort((a, b) => b - a);

/** A row whose name leaves out its budget. */
export const titled = (group: Repeated): Repeated => ({
  ...group,
  first: { ...group.first, name: withoutBudget(group.first.name) },
});

/**
 * The best row of each structure at each budget. If a structure has rows of sequential conversions, only these count. At
 * some budgets it has only others, and a curve through both would show the difference as an effect of the budget.
 */
export function bestOf(groups: readonly Repeated[]): Best[] {
  const sequential = new Set(groups.flatMap(({ first }) => (first.method?.sequential ? [first.structure] : [])));
  const counted = groups.filter(({ first }) => first.method?.sequential || !sequential.has(first.structure));
  return budgetsOf(counted).flatMap((budget) => {
    const rows = counted.filter((group) => budgetOf(group) === budget && group.values[METRIC] !== undefined);
    return [...Map.groupBy(rows, ({ first }) => first.structure)].map(([structure, own]) => {
      const [group] = own.toSorted((a, b) => perplexityOf(a) - perplexityOf(b)) as [Repeated];
      return { budget, structure, group, perplexity: perplexityOf(group) };
    });
  });
}

const perplexityOf = ({ values }: Repeated): number => values[METRIC] as number;

/** A curve for each structure through its best rows. */
export function bestChart(best: readonly Best[], groups: readonly Repeated[]): Chart | undefined {
  const base = groups.filter(({ first }) => first.method === undefined);
  const points = [
    ...base.map((group) => ({ x: undefined, y: perplexityOf(group), series: group.first.name })),
    ...best.map(({ structure, group, perplexity: y }) => {
      const x = ABSCISSAS.linear.of(group.first);
      return { x, y, spread: group.spread?.[METRIC], series: structureNamed(structure).stored.title };
    }),
  ];
  const title = "Perplexity before training, best of each structure";
  return metricByCostChart({ title, metric: METRIC, x: ABSCISSAS.linear, points });
}

/** A sentence for each budget with a goal: GBLR against the best low rank, and against all other structures. */
export function goalLines(best: readonly Best[]): string[] {
  return [...Map.groupBy(best, ({ budget }) => budget)].flatMap(([budget, own]) => {
    const of = (structure: string) => own.find((each) => each.structure === structure);
    const [ours, lowRank, goal] = [of(OURS), of(LOW_RANK), GOALS[budget]];
    if (!ours || !lowRank || goal === undefined) return [];
    const ratio = ours.perplexity / lowRank.perplexity;
    const others = own.filter(({ structure }) => structure !== OURS && structure !== LOW_RANK);
    const [lower, higher] = [
      others.filter(({ perplexity }) => perplexity < ours.perplexity),
      others.filter(({ perplexity }) => perplexity >= ours.perplexity),
    ];
    const compared = [listed("Lower", lower), listed("Higher", higher)].join("");
    return [
      `At ${share(budget)}: ${namedValue(ours)} against ${namedValue(lowRank)}, ratio ${ratio.toFixed(3)}. Goal: at most ${goal}, ${metOr(ratio <= goal)}.${compared}`,
    ];
  });
}

/** Other structures with their perplexities, after a label. Empty if there are none. */
const listed = (label: string, best: readonly Best[]): string =>
  best.length > 0 ? ` ${label}: ${best.map(namedValue).join("; ")}.` : "";

const namedValue = ({ group, perplexity }: Best): string => `${titled(group).first.name} ${threeDigits(perplexity)}`;
const share = (budget: number): string => `${Number((100 * budget).toPrecision(3))} %`;
const metOr = (isMet: boolean): string => (isMet ? "met" : "**missed**");

/** Folders of GBLR and of whitened low rank that see the same inputs, by budget. */
export function layerPairs(folder: string, groups: readonly Repeated[]): LayerPair[] {
  const plain = withDenseInputs(groups);
  return budgetsOf(plain).flatMap((budget) => {
    const own = plain.filter((group) => budgetOf(group) === budget);
    const [reference, ours] = [own.find(isWhitened), own.find((group) => isSearched(group) && isReordered(group))];
    return reference && ours ? [{ reference: placeOf(reference, folder), folder: placeOf(ours, folder) }] : [];
  });
}

/** Folders of GBLR with units in another order and in that of the model, with the same inputs, by budget. */
export function reorderPairs(folder: string, groups: readonly Repeated[]): LayerPair[] {
  const searched = withDenseInputs(groups).filter(isSearched);
  return searched.filter(isReordered).flatMap((ours) => {
    const reference = searched.find((group) => !isReordered(group) && budgetOf(group) === budgetOf(ours));
    return reference ? [{ reference: placeOf(reference, folder), folder: placeOf(ours, folder) }] : [];
  });
}

/** Rows all of whose layers saw the inputs of the dense model and have the same share of the budget. */
const withDenseInputs = (groups: readonly Repeated[]): Repeated[] =>
  groups.filter(({ first: { method } }) => method?.sequential === false && method.allocation === "uniform");

const isWhitened = ({ first }: Repeated): boolean =>
  first.structure === LOW_RANK && first.method?.init === "activation";
const isSearched = ({ first }: Repeated): boolean => first.structure === OURS && first.method?.init === "search";
const isReordered = ({ first }: Repeated): boolean => first.method?.reorder !== "none";
const placeOf = ({ first }: Repeated, folder: string): string => path.join(folder, "compare", first.variant ?? "");

/** A sentence for each pair with a goal. */
export function layerGoalLines(compared: readonly ComparedLayers[]): string[] {
  return compared.flatMap(({ name, layers }) => {
    const budget = Number(/budget ([\d.]+) %/.exec(name)?.[1]) / 100;
    const goal = LAYER_GOALS[budget];
    if (goal === undefined) return [];
    const sum = (of: "error" | "reference") => layers.reduce((total, layer) => total + layer[of], 0);
    const [ofMeans, ratios] = [sum("error") / sum("reference"), layers.map((each) => each.error / each.reference)];
    const mean = ratios.reduce((total, ratio) => total + ratio, 0) / ratios.length;
    return [
      `Output errors at ${share(budget)}, ${layers.length} layers: ratio of means ${ofMeans.toFixed(3)}, mean of ratios ${mean.toFixed(3)}. Goal: at most ${goal}, ${metOr(ofMeans <= goal)}.`,
    ];
  });
}
