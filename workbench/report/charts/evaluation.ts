// A metric of evaluations over the steps of training: one curve per split, and a dashed line for the dense model and
// for each baseline of the comparison.

import { metricNamed, valueText } from "../../../hub/card/comparison.ts";
import { isDense } from "../../../hub/model-folder/index.ts";
import type { EvaluationMetrics } from "../../train/metrics.ts";
import { SERIES } from "../pictures/colors.ts";
import type { ComparisonRow } from "../run-record.ts";
import type { Chart } from "./chart.ts";
import { extraLegendHeight, legendFor, numberAxis, spansDecades, stepAxis, VIEW } from "./chart.ts";
import { thinned } from "./curves.ts";

/** Maximum number of dashed lines in a chart; more would be hard to distinguish. */
const MOST_REFERENCES = 5;

/** The metrics to draw: perplexity and accuracies if they were measured, else the first two metrics. */
export function shownMetrics(evaluations: readonly EvaluationMetrics[]): string[] {
  const names = [...new Set(evaluations.flatMap(({ values }) => Object.keys(values)))];
  const read = names.filter((name) => ["perplexity", "accuracy", "top1", "top5"].includes(name));
  return read.length > 0 ? read : names.slice(0, 2);
}

interface EvaluationChartOptions {
  /** at least one of them must have the metric */
  evaluations: readonly EvaluationMetrics[];
  comparison?: readonly ComparisonRow[];
  /** split on which the comparison is measured; the legend names it if a curve belongs to another split */
  comparisonSplit?: string | undefined;
}

/** Draws a metric by optimizer step. */
export function evaluationChart(
  metric: string,
  { evaluations, comparison = [], comparisonSplit }: EvaluationChartOptions,
): Chart {
  const { label } = metricNamed(metric);
  const splits = [
    ...new Set(evaluations.filter(({ values }) => Object.hasOwn(values, metric)).map(({ split }) => split)),
  ];
  const curves = splits.flatMap((split) =>
    thinned(
      evaluations
        .filter((line) => line.split === split && Object.hasOwn(line.values, metric))
        .map(({ step: x, values }) => ({ x, y: values[metric] as number, series: split })),
    ),
  );
  const isSame = comparisonSplit === undefined || (splits.length === 1 && splits[0] === comparisonSplit);
  const references = referencesFor(metric, comparison).map(({ y, series }) => ({
    y,
    series: isSame ? series : `${series}: ${comparisonSplit}`,
  }));
  const names = [...splits, ...references.map(({ series }) => series)];
  const isLogarithmic = spansDecades([...curves, ...references].map(({ y }) => y));
  const y = numberAxis(label, { isLogarithmic, ...(isShare(metric) && { format: ".0%" }) });
  const last = splits.map((split) => {
    const end = curves.findLast(({ series }) => series === split);
    return `${split} ${valueText(metric, end?.y as number)} at step ${end?.x}`;
  });
  return {
    title: `${label[0]?.toUpperCase()}${label.slice(1)}`,
    description: `${label} by optimizer step: ${last.join(", ")}; dashed: ${
      references.map(({ series, y }) => `${series} ${valueText(metric, y)}`).join(", ") || "nothing to compare with yet"
    }.`,
    spec: {
      ...VIEW,
      height: VIEW.height + extraLegendHeight(names),
      layer: [
        {
          data: { values: references },
          mark: { type: "rule", strokeDash: [5, 4] },
          encoding: { y, color: { field: "series", type: "nominal" } },
        },
        {
          data: { values: curves },
          mark: { type: "line", point: curves.length <= 60 },
          encoding: { x: stepAxis(), y, color: { field: "series", type: "nominal" } },
        },
      ],
      encoding: {
        color: { type: "nominal", scale: { domain: names, range: names.map(colorOf) }, ...legendFor(names) },
      },
    },
  };
}

const isShare = (metric: string): boolean => metricNamed(metric).isShare;

const colorOf = (_: string, i: number): string => SERIES[i % SERIES.length] as string;

/**
 * The dense model and the fine-tuned baselines. If the dense model was fine-tuned, its value after fine-tuning is used.
 */
function referencesFor(metric: string, comparison: readonly ComparisonRow[]): { y: number; series: string }[] {
  const measured = comparison.filter(({ metrics }) => metrics[metric] !== undefined);
  const final = measured.filter(
    ({ name, stage }) => stage === "after" || !measured.some((other) => other.name === name && other.stage === "after"),
  );
  const dense = final.filter(({ structure }) => isDense(structure));
  const others = final.filter(({ structure, stage }) => !isDense(structure) && stage === "after");
  return [...dense, ...others]
    .slice(0, MOST_REFERENCES)
    .map(({ name, metrics }) => ({ y: metrics[metric] as number, series: name }));
}
