// The tables that `gblr convert` prints: the plan and the result, with a row for each layer, and the totals of the
// converted layers and of the whole model.

import { formatBytes, formatCount, formatDuration, percent } from "../../../hub/text/numbers.ts";
import type { Counts } from "../../architectures/count.ts";
import type { Conversion } from "../../compress/convert.ts";
import type { ConversionPlan, PlanTotals } from "../../compress/plan.ts";
import { shortName } from "../../report/layer-names.ts";
import { type Cell, type Palette, table } from "../shared/terminal.ts";

const LONGEST_NAME = 48;

/** The plan as text: a row for each layer, and the totals. */
export function printPlan(plan: ConversionPlan, { model, palette }: { model: string; palette: Palette }): string {
  const rows = plan.layers.map(({ name, nIn, nOut, structure, dense, cost }) => [
    shortName(name, LONGEST_NAME),
    structure,
    `${nIn} × ${nOut}`,
    formatCount(dense),
    formatCount(cost),
    percent(cost / dense),
  ]);
  return [
    palette.bold(`${model} → ${plan.structure}, ${askedText(plan)}`),
    "",
    ...aligned(["layer", "becomes", "in × out", "cost before", "after", "share"], rows, palette),
    "",
    ...totalLines(plan.totals, plan.counts.after),
  ].join("\n");
}

/** Facts about the model folder that was written. */
export interface Written {
  out: string;
  files: readonly string[];
  /** size of the files that inference reads */
  bytes: { before: number; after: number };
  parameters: { before: number; after: number };
  seconds: number;
}

/** The result as text. It contains totals only if they differ from the plan's, as is possible after a block search. */
export function printConversion(
  conversion: Conversion,
  written: Written,
  { plan, palette }: { plan: ConversionPlan; palette: Palette },
): string {
  const { layers, init } = conversion;
  const seen = layers.some(({ outputError }) => outputError !== undefined);
  const mixed = layers.some(({ by }) => by !== init);
  const rows = layers.map(({ name, cost, dense, error, outputError, by, seconds }) => [
    shortName(name, LONGEST_NAME),
    percent(cost / dense),
    error.toFixed(4),
    ...(seen ? [outputError?.toFixed(4) ?? ""] : []),
    ...(mixed ? [by] : []),
    formatDuration(seconds),
  ]);
  const headings = ["layer", "share", "error", ...(seen ? ["of outputs"] : []), ...(mixed ? ["by"] : []), "time"];
  const { parameters, bytes, out, files, seconds } = written;
  const worst = Math.max(0, ...layers.map(({ error }) => error));
  return [
    "",
    ...aligned(headings, rows, palette),
    "",
    ...(conversion.totals.cost === plan.totals.cost ? [] : totalLines(conversion.totals, conversion.counts)),
    `largest relative error: ${worst.toFixed(4)}`,
    `parameters for inference: ${formatCount(parameters.before)} → ${formatCount(parameters.after)}`,
    `model.safetensors: ${formatBytes(bytes.before)} → ${formatBytes(bytes.after)}`,
    `written in ${formatDuration(seconds)}: ${out} (${files.join(", ")})`,
  ].join("\n");
}

function askedText({ asked, allocation, sizes }: ConversionPlan): string {
  if (sizes) return `sizes ${sizes.map(percent2).join(", ")}, ${allocation}; at the largest one:`;
  if ("widths" in asked) return `widths ${asked.widths}`;
  const what = "flops" in asked ? `${percent2(asked.flops)} relative FLOPs` : `budget ${percent2(asked.budget)}`;
  return `${what}, ${allocation}`;
}

function totalLines(totals: PlanTotals, after: Counts): string[] {
  const { dense, allowed, cost, share } = totals;
  const spent = `${formatCount(cost)} of ${formatCount(dense)} multiply-adds per forward pass, ${percent2(share)}`;
  return [
    `converted layers: ${spent} (budget ${percent2(allowed / dense)})`,
    `whole model: relative FLOPs ${percent2(after.reference.relative)} (reference), ${percent2(after.actual.relative)} (actual)`,
  ];
}

/** A share in per cent with two decimals, which budgets need: `43.75 %`. */
const percent2 = (share: number): string => `${(100 * share).toFixed(2)} %`;

function aligned(headings: string[], rows: string[][], { dim }: Palette): string[] {
  const align = (column: number): Cell["align"] => (column === 0 || headings[column] === "becomes" ? "left" : "right");
  return table([
    headings.map((text, column): Cell => ({ text, paint: dim, align: align(column) })),
    ...rows.map((row) => row.map((text, column): Cell => ({ text, align: align(column) }))),
  ]);
}
