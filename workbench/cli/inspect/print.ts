// An inspection as text: a table that keeps to the width of a terminal, then the totals. Numbers come from report/describe-model.ts.

import { formatCount, percent, threeDigits } from "../../../hub/numbers.ts";
import type { InspectedLayer, Inspection, Total } from "../../report/describe-model.ts";
import { shortNames } from "../../report/layer-names.ts";
import { sparkline } from "../../report/layer-summary.ts";
import { type Cell, type Palette, table, WIDTH, wrap } from "../terminal.ts";

export interface PrintOptions {
  palette: Palette;
  /** where the picture was written */
  plot?: string;
}

interface Column {
  heading: string;
  align: "left" | "right";
  text: (layer: InspectedLayer) => string;
}

const COLUMNS: readonly Column[] = [
  { heading: "layer", align: "left", text: ({ name }) => visible(name) },
  { heading: "kind", align: "left", text: ({ structure }) => visible(structure) },
  { heading: "in × out", align: "right", text: ({ nIn, nOut }) => `${nIn} × ${nOut}` },
  { heading: "blocks", align: "right", text: ({ blocks }) => (blocks ? `${blocks.live}/${blocks.all}` : "") },
  { heading: "width in", align: "left", text: ({ blocks }) => (blocks ? sparkline(blocks.widthsIn) : "") },
  { heading: "out", align: "left", text: ({ blocks }) => (blocks ? sparkline(blocks.widthsOut) : "") },
  { heading: "cover", align: "right", text: ({ blocks }) => (blocks ? threeDigits(blocks.cover) : "") },
  {
    heading: "rank",
    align: "right",
    text: ({ structure, equalCostRank }) => (structure === "dense" ? "" : threeDigits(equalCostRank)),
  },
  { heading: "cost", align: "right", text: ({ cost }) => formatCount(cost) },
  { heading: "share", align: "right", text: ({ share }) => percent(share) },
];

const SHORTEST_NAME = 12;

export function printInspection(
  { model, layers, totals, embeddings }: Inspection,
  { palette, plot }: PrintOptions,
): string {
  const [names, ...others] = COLUMNS.map((column) => cellsOf(column, layers, palette));
  const shown = others.filter(([, ...cells]) => cells.some(({ text }) => text !== ""));
  const rest = Math.max(...table(rowsOf(shown)).map((line) => line.length));
  const room = Math.max(SHORTEST_NAME, WIDTH - rest - 2);
  const texts = shortNames(
    (names as Cell[]).map(({ text }) => text),
    room,
  );
  const short = (names as Cell[]).map((cell, i) => ({ ...cell, text: texts[i] as string }));
  const lines = table(rowsOf([short, ...shown]));
  const kinds = totals.structured.layers;
  return [
    palette.bold(visible(model)),
    "",
    ...lines,
    "",
    ...(kinds > 0 && kinds < layers.length ? [totalLine("structured layers", totals.structured)] : []),
    totalLine("all layers", totals.all),
    ...(embeddings.length > 0 ? wrap(`embedding tables, not counted: ${visible(embeddings.join(", "))}`) : []),
    ...(plot === undefined ? [] : [`picture of the blocks: ${plot}`]),
  ].join("\n");
}

/** Heading and cells of a column. */
function cellsOf({ heading, align, text }: Column, layers: readonly InspectedLayer[], { dim }: Palette): Cell[] {
  return [{ text: heading, align, paint: dim }, ...layers.map((layer) => ({ text: text(layer), align }))];
}

function rowsOf(columns: readonly (readonly Cell[])[]): Cell[][] {
  return (columns[0] ?? []).map((_, row) => columns.map((column) => column[row] as Cell));
}

function totalLine(what: string, { layers, cost, dense, share }: Total): string {
  const counted = `${formatCount(cost)} of ${formatCount(dense)} multiply-adds a row`;
  return `${what}: ${layers}, ${counted}, ${percent(share)}`;
}

/** Names come out of files: what would move a terminal's cursor becomes a mark. */
function visible(text: string): string {
  return text.replace(/\p{Cc}|\p{Cf}/gu, "\ufffd");
}
