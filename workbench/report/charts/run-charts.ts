// The charts of a run, in the order in which the report shows them.

import { evaluationsOf, stepsOf, structuresOf } from "../metrics-log.ts";
import type { Run } from "../run-files.ts";
import type { Chart } from "./chart.ts";
import { evaluationChart, shownMetrics } from "./evaluation.ts";
import { costChart, finalWidthsChart, widthHistoryChart } from "./structure.ts";
import { lossChart, stepCharts } from "./training.ts";

/** Charts of training. Empty before the first step and the first evaluation. */
export function trainingCharts({ record, metrics, comparison = [] }: Run): Chart[] {
  const [steps, evaluations] = [stepsOf(metrics), evaluationsOf(metrics)];
  const cost = costChart(
    steps,
    structuresOf(metrics),
    record?.targetCost === undefined ? {} : { target: record.targetCost },
  );
  const unit = record?.task === "image-classification" ? "images" : "tokens";
  return [
    ...(steps.length > 0 ? [lossChart(steps)] : []),
    ...shownMetrics(evaluations).map((metric) =>
      evaluationChart(metric, { evaluations, comparison, comparisonSplit: record?.comparisonSplit }),
    ),
    ...(cost ? [cost] : []),
    ...(steps.length > 0 ? stepCharts(steps, { unit }) : []),
  ];
}

/** Charts of the blocks' widths. Empty if no line of the metrics has widths. */
export function structureCharts({ metrics }: Run): Chart[] {
  const structures = structuresOf(metrics);
  const last = structures.at(-1);
  return [...(last ? [finalWidthsChart(last)] : []), ...(structures.length > 1 ? [widthHistoryChart(structures)] : [])];
}
