// The table of what a block search by outputs has found: for each layer its tiles, which are parts of the matrix with a
// low rank of their own, their share of the cost, and the output error that the layer would have without each of them.

import { percent } from "../../../hub/text/numbers.ts";
import type { ConvertedLayer, Tile } from "../run-record.ts";
import { type Column, type Html, html, table } from "./html.ts";

interface WorthRow extends Pick<ConvertedLayer, "layer" | "nIn" | "nOut"> {
  tiles: readonly Tile[];
  outputError: number;
}

/** The layers of which the tiles and the output error are known. */
export function worthRows(conversion: readonly ConvertedLayer[]): WorthRow[] {
  return conversion.flatMap(({ tiles, outputError, ...layer }) =>
    tiles && tiles.length > 0 && outputError !== undefined ? [{ ...layer, tiles, outputError }] : [],
  );
}

/** The rows as a table. */
export function worthTable(rows: readonly WorthRow[]): Html {
  const list = (heading: string, text: (tile: Tile, row: WorthRow) => string): Column<WorthRow> => ({
    heading,
    align: "right",
    cell: (row) => row.tiles.map((tile) => text(tile, row)).join(" · "),
  });
  const columns: Column<WorthRow>[] = [
    { heading: "layer", cell: ({ layer }) => layer },
    { heading: "tiles", cell: tilesText },
    list("rank", ({ rank }) => `${rank}`),
    list("share of the cost, %", ({ cost }, { tiles }) =>
      ((100 * cost) / tiles.reduce((sum, each) => sum + each.cost, 0)).toFixed(0),
    ),
    { heading: "output error", align: "right", cell: ({ outputError }) => percent(outputError) },
    list("without the tile, %", (tile, row) => (100 * errorWithout(tile, row)).toFixed(1)),
  ];
  return html`${table(rows, { caption: "What blocks are worth", columns, kind: "dense" })}
<p class="soft">A tile is a part of the matrix with a low rank of its own; it is the sum of as many blocks as its rank. The
numbers are in the order of the tiles: the whole matrix first, then groups of columns from left to right, or of rows from
top to bottom. The output error is ‖(W − Ŵ) Σ^½‖ / ‖W Σ^½‖ right after conversion; the last column has the error without
each tile.</p>`;
}

/** The output error without a tile. By rounding errors, the worth of a useless tile can be slightly negative. */
const errorWithout = ({ worth }: Tile, { outputError }: WorthRow): number =>
  Math.sqrt(Math.max(0, outputError ** 2 + worth));

/** For example `whole + 4 groups of columns`. */
function tilesText({ tiles, nIn, nOut }: WorthRow): string {
  const covers = ([start, end]: Tile["rows"], length: number) => start === 0 && end === length;
  const groups = tiles.filter(({ rows, columns }) => !covers(rows, nOut) || !covers(columns, nIn));
  const [first] = groups;
  if (!first) return "whole";
  const side = covers(first.rows, nOut) ? "columns" : "rows";
  const text = groups.length === 1 ? `1 group of ${side}` : `${groups.length} groups of ${side}`;
  return groups.length < tiles.length ? `whole + ${text}` : text;
}
