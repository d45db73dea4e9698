// The table of `gblr compare` as plain text: a row for each group of repetitions, and columns for what at least one row
// has. The terminal and Markdown add their own markup.

import { metricNamed, valueText } from "../../../hub/card/comparison.ts";
import { formatBytes, formatDuration, percent, threeDigits } from "../../../hub/text/numbers.ts";
import { isBase, type ResultRecord } from "../results.ts";
import { ABSCISSAS } from "./metrics.ts";
import { meanOf, type Repeated } from "./repeats.ts";
import { labelsOf } from "./settings.ts";

/** The table: headings and rows of equally many cells. The first `texts` columns are left-aligned. */
export interface CompareTable {
  texts: number;
  headings: string[];
  rows: string[][];
}

interface Column {
  heading: string;
  /** whether cells are words, which are on the left. Default false */
  isText?: boolean;
  cell(group: Repeated, index: number): string;
}

/** Builds the table of the metrics and of cost, size and speed. */
export function compareTable(groups: readonly Repeated[], metrics: readonly string[]): CompareTable {
  const labels = labelsOf(groups.map(({ first }) => first));
  const columns: Column[] = [
    { heading: "model", isText: true, cell: ({ first }, i) => [first.name, labels[i]].filter(Boolean).join(", ") },
    {
      heading: "fine-tuning",
      isText: true,
      cell: ({ first }) => (isBase(first) ? "" : first.stage),
    },
    { heading: "runs", cell: ({ rows }) => (groups.some((group) => group.rows.length > 1) ? String(rows.length) : "") },
    ...metrics.map((name): Column => ({ heading: metricNamed(name).label, cell: (group) => metricText(name, group) })),
    ...SIZES,
  ];
  const used = columns.filter(({ cell }) => groups.some((group, i) => cell(group, i) !== ""));
  return {
    texts: used.filter(({ isText }) => isText).length,
    headings: used.map(({ heading }) => heading),
    rows: groups.map((group, i) => used.map(({ cell }) => cell(group, i))),
  };
}

/** A column with the mean of a number. */
function number(
  heading: string,
  of: (record: ResultRecord) => number | undefined,
  text: (value: number) => string,
): Column {
  const cell = (group: Repeated) => {
    const value = meanOf(group, of);
    return value === undefined ? "" : text(value);
  };
  return { heading, cell };
}

const SIZES: readonly Column[] = [
  number("linear\nparameters", ABSCISSAS.linear.of, percent),
  number("FLOPs\n(actual)", ABSCISSAS.flops.of, percent),
  number("file", ({ fileBytes }) => fileBytes, formatBytes),
  number("tokens/s", ({ speed }) => speed?.tokensPerSecond, threeDigits),
  number("images/s", ({ speed }) => speed?.imagesPerSecond, threeDigits),
  number("peak\nmemory", ({ peakMemory }) => peakMemory, formatBytes),
  number("time", ({ seconds }) => seconds, formatDuration),
];

/** The value of a metric, or the mean and the standard deviation of several: `54.05 % ± 0.42 %`. */
function metricText(name: string, { values, spread }: Repeated): string {
  const value = values[name];
  if (value === undefined) return "";
  return spread ? `${valueText(name, value)} ± ${valueText(name, spread[name] as number)}` : valueText(name, value);
}

/** The table in GitHub's Markdown. */
export function markdownTable({ texts, headings, rows }: CompareTable): string {
  const line = (cells: readonly string[]) => `| ${cells.map(escaped).join(" | ")} |`;
  const rule = `|${headings.map((_, i) => (i < texts ? " --- " : " --: ")).join("|")}|`;
  return [line(headings.map((heading) => heading.replace("\n", " "))), rule, ...rows.map(line)].join("\n");
}

const escaped = (text: string): string => text.replace(/[\\|]/g, "\\$&").replace(/\s+/g, " ");
