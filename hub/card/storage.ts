// The section of a card about a model that is stored in another number type than the one it was made from: the bytes of
// both, and what was measured of both.

import { countOf, formatBytes } from "../text/numbers.ts";
import { metricNamed, valueText } from "./comparison.ts";
import type { CardFacts } from "./facts.ts";
import { code, markdownTable, plain, type TableColumn } from "./markdown.ts";

/** What a card says about the number type of the files. */
export interface StorageFacts {
  /** e.g. `int8` */
  dtype: string;
  /** bytes of the files with weights: of the model that was exported, and of this one */
  bytes: { before: number; after: number };
  /** number of layers that are in float32 all the same. Default none */
  exact?: number;
  /** what was measured of both models */
  measured?: {
    metric: string;
    /** data set and split */
    on: string;
    before: number;
    after: number;
  };
}

const NUMBERS: Readonly<Record<string, string>> = { int8: "8-bit integers with a scale for each 32 values" };

/** The section "Stored numbers". Undefined for a model whose type was not changed. @returns Markdown */
export function storageSection({ storage }: CardFacts): string | undefined {
  if (!storage) return undefined;
  const { dtype, bytes, exact = 0, measured } = storage;
  const what = Object.hasOwn(NUMBERS, dtype) ? (NUMBERS[dtype] as string) : code(dtype);
  const kept =
    exact > 0 ? ` ${countOf(exact, "layer")} would not stand rounding and ${exact > 1 ? "are" : "is"} in float32.` : "";
  const rows = (["before", "after"] as const).map((when) => ({ when, bytes: bytes[when], value: measured?.[when] }));
  const columns: TableColumn<(typeof rows)[number]>[] = [
    { heading: "model", align: "left", cell: ({ when }) => (when === "before" ? "before the export" : "this one") },
    { heading: "file", align: "right", cell: (row) => plain(formatBytes(row.bytes)) },
  ];
  if (measured) {
    const { metric } = measured;
    const cell = ({ value }: (typeof rows)[number]) => plain(valueText(metric, value as number));
    columns.push({ heading: plain(metricNamed(metric).label), align: "right", cell });
  }
  return [
    "## Stored numbers",
    `The weights are stored as ${what}, and computed with in float32.${kept}`,
    ...(measured ? [`Measured on ${plain(measured.on)}.`] : []),
    markdownTable(rows, columns),
  ].join("\n\n");
}
