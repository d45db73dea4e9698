// The part of a card that says how good the model is: the table of what was compared, and the picture of its blocks.

import { formatBytes, formatCount, formatDuration } from "../numbers.ts";
import type { CardFacts, CardRow } from "./facts.ts";
import { markdownTable, plain, type TableColumn } from "./markdown.ts";
import { bestOf, flopsText, metricNamed, metricsOf, valueText } from "./metric-names.ts";

const NONE = "–";

/** Undefined when nothing was measured. */
export function resultsSection({
  comparison = [],
  dataset,
  context,
  limit,
  task,
  metrics = [],
}: CardFacts): string | undefined {
  const rows = comparison.map(withFiniteMetrics);
  if (rows.length === 0) return undefined;
  const splits = [...new Set(metrics.map(({ split }) => split))];
  const on = [
    dataset && plain([dataset.name ?? dataset.id, dataset.config].filter(Boolean).join(", ")),
    splits.length === 1 && `split ${plain(splits[0] as string)}`,
    limit !== undefined && `${limit} ${task === "text-generation" ? "windows" : "images"} of it only`,
    context !== undefined && `windows of ${context} tokens`,
  ].filter((part) => typeof part === "string");
  return [
    "## Results",
    ...(on.length > 0 ? [`Measured on ${on.join(", ")}. The best of the compressed models is in bold.`] : []),
    markdownTable(rows, columnsFor(rows)),
    "Relative FLOPs are multiply-adds of the whole model as a share of the dense one's: first counted as in the paper's tables, then as they are.",
  ].join("\n\n");
}

/** Undefined without a picture. */
export function pictureSection({ hasPicture = false }: CardFacts): string | undefined {
  if (!hasPicture) return undefined;
  return [
    "## Block layout",
    "![Where the blocks of each matrix lie](structure.png)",
    "Each square is a matrix, inputs from left to right, outputs from top to bottom; the brighter, the more blocks overlap. What is black is zero.",
  ].join("\n\n");
}

function columnsFor(rows: readonly CardRow[]): TableColumn<CardRow>[] {
  const compressed = rows.filter(({ structure }) => structure !== "dense");
  const metrics = metricsOf(rows).map((name): TableColumn<CardRow> => {
    const best = bestOf(name, compressed);
    return {
      heading: plain(metricNamed(name).label),
      align: "right",
      cell: ({ metrics, structure }) => {
        const text = written(metrics[name], (value) => valueText(name, value));
        return structure !== "dense" && best !== undefined && metrics[name] === best ? `**${text}**` : text;
      },
    };
  });
  const number = (
    heading: string,
    value: (row: CardRow) => number | undefined,
    text: (value: number) => string,
  ): TableColumn<CardRow> => ({ heading, align: "right", cell: (row) => written(value(row), text) });
  const columns: TableColumn<CardRow>[] = [
    { heading: "model", align: "left", cell: ({ name }) => plain(name) },
    {
      heading: "fine-tuning",
      align: "left",
      cell: ({ stage, structure }) => (structure === "dense" && stage === "before" ? NONE : stage),
    },
    ...metrics,
    number("relative FLOPs", ({ relativeFlops }) => relativeFlops?.reference, flopsText),
    number("as they are", ({ relativeFlops }) => relativeFlops?.actual, flopsText),
    number("parameters", ({ parameters }) => parameters, formatCount),
    number("file", ({ fileBytes }) => fileBytes, formatBytes),
    number("time", ({ seconds }) => seconds, formatDuration),
    { heading: "note", align: "left", cell: ({ note }) => plain(note ?? "") },
  ];
  return columns.filter(({ cell }, i) => i === 0 || rows.some((row) => ![NONE, ""].includes(cell(row))));
}

function withFiniteMetrics(row: CardRow): CardRow {
  return { ...row, metrics: Object.fromEntries(Object.entries(row.metrics).filter(([, v]) => Number.isFinite(v))) };
}

const written = (value: number | undefined, text: (value: number) => string): string =>
  value === undefined || !Number.isFinite(value) ? NONE : text(value);
