// `gblr eval`: how good a model is on a data set. The verbs under it are in eval/.

import process from "node:process";
import type { Command } from "commander";
import { percent } from "../../hub/text/numbers.ts";
import { modelCounts } from "../models/counts.ts";
import type { Model } from "../models/index.ts";
import { addAccuracy } from "./eval/accuracy.ts";
import { addPerplexity } from "./eval/perplexity.ts";
import { type Cell, type Palette, paletteFor, table, threeDigits } from "./shared/terminal.ts";

export function addEval(program: Command): void {
  const command = program.command("eval").description("measure a model on a data set");
  addPerplexity(command);
  addAccuracy(command);
}

export interface RelativeFlops {
  /** as the reference counts */
  reference: number;
  /** all of them */
  actual: number;
}

export async function relativeFlopsOf<Config>(model: Model<Config>): Promise<RelativeFlops> {
  const { reference, actual } = await modelCounts(model);
  return { reference: reference.relative, actual: actual.relative };
}

export interface OnEngine {
  engine: string;
  device: string;
  precision: string;
}

export type ResultRow = [label: string, value: string, note: string];

export const flopsRows = ({ reference, actual }: RelativeFlops): ResultRow[] => [
  ["FLOPs", percent(reference), "of dense, as the reference counts"],
  ["", percent(actual), "of dense, all of them"],
];

export const speedRow = (perSecond: number, unit: string, { engine, device, precision }: OnEngine): ResultRow => [
  "speed",
  threeDigits(perSecond),
  `${unit}/s on ${engine} ${device}, ${precision}`,
];

/** The document for machines, or the table for people, on stdout. */
export function writeResult<Result>(
  result: Result,
  { json, print }: { json: boolean; print(result: Result, palette: Palette): string },
): void {
  const text = json ? JSON.stringify(result, null, 2) : print(result, paletteFor(process.stdout, process.env));
  process.stdout.write(`${text}\n`);
}

/** The first row is what was asked for. */
export function resultTable(title: string, rows: readonly ResultRow[], palette: Palette): string {
  const cells = rows.map(([label, value, note], i): Cell[] => [
    { text: label, paint: palette.dim },
    { text: value, align: "right", ...(i === 0 && { paint: palette.bold }) },
    { text: note, paint: palette.dim },
  ]);
  return [palette.bold(title), ...table(cells)].join("\n");
}

/** `model on data set, configuration, split` */
export const titleOf = (...[model, dataset, config, split]: [string, string, string | undefined, string]): string =>
  `${model} on ${dataset}${config === undefined ? "" : `, ${config}`}, ${split}`;
