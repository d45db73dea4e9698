// The comparison of models: a table of the dense and the compressed models before and after fine-tuning, in which the
// best compressed model of each metric is marked, and one sentence that summarizes it.

import { comparisonColumns, flopsText, metricNamed, metricsOf, valueText } from "../../../hub/card/comparison.ts";
import { isDense } from "../../../hub/model-folder/index.ts";
import type { ComparisonRow } from "../run-record.ts";
import { type Column, type Html, table } from "./html.ts";

/** The rows as a table; columns that are empty in every row are left out. */
export function comparisonTable(rows: readonly ComparisonRow[]): Html {
  const columns = comparisonColumns(rows).map(
    ({ heading, better, align, cell, isBest }): Column<ComparisonRow> => ({
      heading: better === undefined ? heading : `${heading} ${better === "lower" ? "↓" : "↑"}`,
      ...(align === "right" && { align }),
      cell,
      ...(isBest && { isBest }),
    }),
  );
  return table(rows, { caption: "Models compared", columns });
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
