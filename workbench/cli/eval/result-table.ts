// What the verbs of `gblr eval` share: flags, and how a result is printed.

import process from "node:process";
import { percent } from "../../../hub/text/numbers.ts";
import type { Engine, OpenEngineOptions } from "../../engine/core/types.ts";
import type { RelativeFlops } from "../../pipeline/evaluate.ts";
import { type Cell, type Palette, paletteFor, table, threeDigits } from "../shared/terminal.ts";

export interface Flags extends OpenEngineOptions {
  offline?: boolean;
  json?: boolean;
}

export const INTERRUPTED = "interrupted; evaluations keep no partial results";

export interface OnEngine {
  engine: string;
  device: string;
  precision: string;
}

export const onEngine = ({ name, device, precision }: Engine): OnEngine => ({ engine: name, device, precision });

export type ResultRow = [label: string, value: string, note: string];

export const flopsRows = ({ reference, actual }: RelativeFlops): ResultRow[] => [
  ["relative FLOPs", percent(reference), "(reference)"],
  ["", percent(actual), "(actual)"],
];

export const speedRow = (perSecond: number, unit: string, { engine, device, precision }: OnEngine): ResultRow => [
  "speed",
  threeDigits(perSecond),
  `${unit}/s on ${engine} ${device}, ${precision}`,
];

/** Prints the result on stdout, as a JSON document or as a table. */
export function writeResult<Result>(
  result: Result,
  { json, print }: { json: boolean; print(result: Result, palette: Palette): string },
): void {
  const text = json ? JSON.stringify(result, null, 2) : print(result, paletteFor(process.stdout, process.env));
  process.stdout.write(`${text}\n`);
}

/** The result as a table. The first row, which has the main metric, is bold. */
export function resultTable(title: string, rows: readonly ResultRow[], palette: Palette): string {
  const cells = rows.map(([label, value, note], i): Cell[] => [
    { text: label, paint: palette.dim },
    { text: value, align: "right", ...(i === 0 && { paint: palette.bold }) },
    { text: note, paint: palette.dim },
  ]);
  return [palette.bold(title), ...table(cells)].join("\n");
}
