// The comparison of models: a table of the dense and the compressed models before and after fine-tuning, in which the
// best compressed model of each metric is marked, and one sentence that summarizes it.

import { bestOf, flopsText, metricNamed, metricsOf, valueText } from "../../../hub/card/metric-names.ts";
import { isDense } from "../../../hub/model-folder/index.ts";
import { formatBytes, formatCount, formatDuration } from "../../../hub/text/numbers.ts";
import type { ComparisonRow } from "../run-record.ts";
import { type Column, type Html, table } from "./html.ts";

const NONE = "–";

/** The rows as a table; columns that are empty in every row are left out. */
export function comparisonTable(rows: readonly ComparisonRow[]): Html {
  const compressed = rows.filter(isCompressed);
  const metrics = metricsOf(rows).map((name): Column<ComparisonRow> => {
    const best = bestOf(name, compressed);
    const { label, better } = metricNamed(name);
    return {
      heading: `${label}${better === undefined ? "" : better === "lower" ? " ↓" : " ↑"}`,
      align: "right",
      cell: (row) => written(row.metrics[name], (value) => valueText(name, value)),
      isBest: (row) => isCompressed(row) && best !== undefined && row.metrics[name] === best,
    };
  });
  const number = (
    heading: string,
    value: (row: ComparisonRow) => number | undefined,
    text: (value: number) => string,
  ): Column<ComparisonRow> => ({ heading, align: "right", cell: (row) => written(value(row), text) });
  const columns: Column<ComparisonRow>[] = [
    { heading: "model", cell: ({ name }) => name },
    {
      heading: "fine-tuning",
      cell: ({ stage, structure }) => (isDense(structure) && stage === "before" ? NONE : stage),
    },
    ...metrics,
    number("relative FLOPs (reference)", ({ relativeFlops }) => relativeFlops?.reference, flopsText),
    number("relative FLOPs (actual)", ({ relativeFlops }) => relativeFlops?.actual, flopsText),
    number("parameters", ({ parameters }) => parameters, formatCount),
    number("file", ({ fileBytes }) => fileBytes, formatBytes),
    number("time", ({ seconds }) => seconds, formatDuration),
    { heading: "note", cell: ({ note }) => note ?? "" },
  ];
  const used = columns.filter(({ cell }, i) => i === 0 || rows.some((row) => ![NONE, ""].includes(String(cell(row)))));
  return table(rows, { caption: "Models compared", columns: used });
}

/**
 * Names the best compressed model by the first metric, with the dense model's value.
 * @returns undefined if no compressed model has been measured
 */
export function comparisonSentence(rows: readonly ComparisonRow[]): string | undefined {
  const [metric] = metricsOf(rows);
  if (metric === undefined) return undefined;
  const { better, label } = metricNamed(metric);
  const measured = rows.filter(({ metrics }) => metrics[metric] !== undefined);
  const value = ({ metrics }: ComparisonRow): number => metrics[metric] as number;
  const sign = better === "higher" ? -1 : 1;
  const [best] = measured.filter(isCompressed).sort((a, b) => sign * (value(a) - value(b)));
  if (!best || better === undefined) return undefined;
  // Prefers the dense model after the same training: before training from scratch, a dense model is random.
  const [dense] = measured
    .filter((row) => !isCompressed(row))
    .sort((a, b) => Number(b.stage === "after") - Number(a.stage === "after"));
  const flops = best.relativeFlops ? ` at ${flopsText(best.relativeFlops.reference)} of the dense FLOPs` : "";
  const than = measured.filter(isCompressed).length > 1 ? "Best of the compressed models: " : "";
  const alike = dense?.stage === "after" ? ", trained alike," : "";
  const beside = dense ? `; the dense model${alike} has ${valueText(metric, value(dense))}` : "";
  const said = `${than}${best.name}, ${label} ${valueText(metric, value(best))} ${best.stage} fine-tuning${flops}${beside}.`;
  return said.replace(/ %/g, "\u00a0%"); // no line break between a number and its %
}

const isCompressed = ({ structure }: ComparisonRow): boolean => !isDense(structure);

const written = (value: number | undefined, text: (value: number) => string): string =>
  value === undefined ? NONE : text(value);
