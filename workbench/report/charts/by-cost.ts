// A metric by cost: a curve for each method with its points, models to compare with as dashed lines, and error bars of
// one standard deviation where a point is the mean of several runs. For sweeps and for `gblr compare`.

import { metricNamed, valueText } from "../../../hub/card/comparison.ts";
import { percent, threeDigits } from "../../../hub/text/numbers.ts";
import { type Chart, LEGEND_ROW, numberAxis, spansDecades, VIEW } from "./chart.ts";

/** A measured model. */
export interface CostPoint {
  /** cost; undefined for a model that is drawn as a line across the chart */
  x: number | undefined;
  y: number;
  /** standard deviation of y over several runs */
  spread?: number | undefined;
  /** name of its curve or line in the legend */
  series: string;
}

/** What is drawn, and on which axes. */
export interface MetricByCost {
  title: string;
  /** name of the metric, e.g. `perplexity` */
  metric: string;
  x: { title: string; isShare: boolean };
  points: readonly CostPoint[];
}

/** Maximum number of characters of a legend entry that shares its line with another one. */
const HALF_LINE = 30;

/** Draws a metric by cost. @returns undefined if no point has a cost */
export function metricByCostChart({ title, metric, x: abscissa, points }: MetricByCost): Chart | undefined {
  const { label, isShare } = metricNamed(metric);
  const heights = points.map(({ y }) => y);
  const isLogarithmic = !isShare && spansDecades(heights);
  // A logarithmic axis has no place for the lower end of a bar that reaches 0.
  const bottom = isLogarithmic ? heights.reduce((a, b) => Math.min(a, b)) : Number.NEGATIVE_INFINITY;
  const curves = points
    .filter((point): point is CostPoint & { x: number } => point.x !== undefined)
    .map(({ spread, ...point }) => ({
      ...point,
      ...(spread !== undefined && { low: Math.max(point.y - spread, bottom), high: point.y + spread }),
    }));
  if (curves.length === 0) return undefined;
  const lines = points.filter(({ x }) => x === undefined).map(({ y, series }) => ({ y, series }));
  const bars = curves.filter(({ low }) => low !== undefined);
  const format = isShare ? { format: ".1%" } : {};
  const scale = { ...format, isLogarithmic };
  const y = numberAxis(label, scale);
  const x = {
    field: "x",
    type: "quantitative",
    title: abscissa.title,
    scale: { zero: false, nice: true },
    ...(abscissa.isShare && { axis: { format: ".0%" } }),
  } as const;
  const bar = { x, y: numberAxis(label, { ...scale, field: "low" }), y2: { field: "high" } };
  const names = [...new Set([...lines, ...curves].map(({ series }) => series))];
  const columns = names.every((name) => name.length <= HALF_LINE) ? 2 : 1;
  const at = (value: number) => (abscissa.isShare ? percent(value) : threeDigits(value));
  const values = curves.map((point) => `${point.series} ${valueText(metric, point.y)} at ${at(point.x)}`);
  return {
    title,
    description: `${label} by ${abscissa.title}: ${values.join(", ")}.`,
    spec: {
      ...VIEW,
      width: 560,
      height: 320 + LEGEND_ROW * (Math.ceil(names.length / columns) - 1),
      layer: [
        { data: { values: lines }, mark: { type: "rule", strokeDash: [5, 4] }, encoding: { y } },
        ...(bars.length > 0 ? [{ data: { values: bars }, mark: "rule" as const, encoding: bar }] : []),
        { data: { values: curves }, mark: { type: "line", point: true }, encoding: { x, y } },
      ],
      encoding: {
        color: { field: "series", type: "nominal", scale: { domain: names }, legend: { columns, labelLimit: 0 } },
      },
    },
  };
}
