// How a comparison of models is shown: the names of metrics, the format of their values, whether lower or higher values
// are better, and the columns of the table as plain text. Cards and reports add their own markup. An unknown metric
// keeps its name, and neither direction is better.

import { isDense } from "../model-folder/index.ts";
import { formatBytes, formatCount, formatDuration, threeDigits } from "../text/numbers.ts";
import type { CardRow } from "./facts.ts";

interface Metric {
  /** name for people, in lower case */
  label: string;
  better: "lower" | "higher" | undefined;
  /** whether the value is a fraction in [0, 1] that is shown in percent */
  isShare: boolean;
}

const METRICS: Record<string, Metric> = {
  perplexity: { label: "perplexity", better: "lower", isShare: false },
  nll: { label: "NLL, nats", better: "lower", isShare: false },
  perplexityPerWord: { label: "perplexity per word", better: "lower", isShare: false },
  perplexityPerByte: { label: "perplexity per byte", better: "lower", isShare: false },
  bitsPerByte: { label: "bits per byte", better: "lower", isShare: false },
  accuracy: { label: "accuracy", better: "higher", isShare: true },
  top1: { label: "top-1 accuracy", better: "higher", isShare: true },
  top5: { label: "top-5 accuracy", better: "higher", isShare: true },
  loss: { label: "loss", better: "lower", isShare: false },
  outputError: { label: "output error", better: "lower", isShare: false },
  weightError: { label: "weight error", better: "lower", isShare: false },
};

/** The properties of a metric, by its name in the results. */
export function metricNamed(name: string): Metric {
  return Object.hasOwn(METRICS, name) ? (METRICS[name] as Metric) : { label: name, better: undefined, isShare: false };
}

/** `19.24` for perplexities, `78.51 %` for accuracies, otherwise four decimals or three significant digits. */
export function valueText(name: string, value: number): string {
  const { isShare, label } = metricNamed(name);
  if (isShare) return `${(100 * value).toFixed(2)} %`;
  if (label.startsWith("perplexity")) return value < 1e6 ? value.toFixed(2) : value.toExponential(2);
  return Math.abs(value) < 100 ? value.toFixed(4) : threeDigits(value);
}

/** `43.75 %`, with the precision of published tables. */
export const flopsText = (share: number): string => `${(100 * share).toFixed(2)} %`;

/** The metrics of the rows: known ones first, in the order above, then the others as they come. */
export function metricsOf(rows: readonly { metrics: Readonly<Record<string, number>> }[]): string[] {
  const present = [...new Set(rows.flatMap(({ metrics }) => Object.keys(metrics)))];
  const known = Object.keys(METRICS).filter((name) => present.includes(name));
  return [...known, ...present.filter((name) => !known.includes(name))];
}

/** The best value of a metric. Undefined if neither direction is better, or there are fewer than two values. */
export function bestOf(
  name: string,
  rows: readonly { metrics: Readonly<Record<string, number>> }[],
): number | undefined {
  const values = rows.flatMap(({ metrics }) => (metrics[name] === undefined ? [] : [metrics[name]]));
  const { better } = metricNamed(name);
  if (better === undefined || values.length < 2) return undefined;
  return better === "lower" ? Math.min(...values) : Math.max(...values);
}

/** What a cell without a value shows. */
const NONE = "–";

/** A column of the comparison. */
export interface ComparisonColumn {
  heading: string;
  align: "left" | "right";
  /** content of the cell, plain text */
  cell(row: CardRow): string;
  /** of a metric: which values are better, if that is known */
  better?: "lower" | "higher" | undefined;
  /** of a metric: whether the row is a compressed model with the best value of all compressed models */
  isBest?(row: CardRow): boolean;
}

/** The columns of these rows. Columns that are empty in every row are left out. */
export function comparisonColumns(rows: readonly CardRow[]): ComparisonColumn[] {
  const columns: ComparisonColumn[] = [
    { heading: "model", align: "left", cell: ({ name }) => name },
    {
      heading: "fine-tuning",
      align: "left",
      cell: ({ stage, structure }) => (isDense(structure) && stage === "before" ? NONE : stage),
    },
    ...metricColumns(rows),
    numbers("relative FLOPs (reference)", ({ relativeFlops }) => relativeFlops?.reference, flopsText),
    numbers("relative FLOPs (actual)", ({ relativeFlops }) => relativeFlops?.actual, flopsText),
    numbers("parameters", ({ parameters }) => parameters, formatCount),
    numbers("file", ({ fileBytes }) => fileBytes, formatBytes),
    numbers("time", ({ seconds }) => seconds, formatDuration),
    { heading: "note", align: "left", cell: ({ note }) => note ?? "" },
  ];
  return columns.filter(({ cell }, i) => i === 0 || rows.some((row) => ![NONE, ""].includes(cell(row))));
}

function metricColumns(rows: readonly CardRow[]): ComparisonColumn[] {
  const compressed = rows.filter(({ structure }) => !isDense(structure));
  return metricsOf(rows).map((name) => {
    const best = bestOf(name, compressed);
    const { label, better } = metricNamed(name);
    return {
      ...numbers(
        label,
        ({ metrics }) => metrics[name],
        (value) => valueText(name, value),
      ),
      better,
      isBest: ({ metrics, structure }) => !isDense(structure) && best !== undefined && metrics[name] === best,
    };
  });
}

/** A column of numbers. Values that are missing or not finite are shown as NONE. */
function numbers(
  heading: string,
  value: (row: CardRow) => number | undefined,
  text: (value: number) => string,
): ComparisonColumn {
  const written = (number: number | undefined) =>
    number === undefined || !Number.isFinite(number) ? NONE : text(number);
  return { heading, align: "right", cell: (row) => written(value(row)) };
}
