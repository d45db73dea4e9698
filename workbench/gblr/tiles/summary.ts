// What the tiles of a fit are and what each is worth, for records and reports. Blocks have no worth of their own: the
// elimination chooses them among many that have the same sum, see elimination.ts, but their sum is the tile.

import type { TileFit } from "./fit.ts";
import { costOfTile } from "./layout.ts";

/** A tile of a converted matrix. */
export interface TileSummary {
  /** [first, end) */
  rows: readonly [number, number];
  /** [first, end) */
  columns: readonly [number, number];
  /** its number of blocks */
  rank: number;
  /** multiply-adds per row */
  cost: number;
  /**
   * by how much the square of the relative output error would be larger without this tile. Tiles overlap, so that the
   * sum over tiles is not a share of anything
   */
  worth: number;
}

/** The tiles of a fit that have a rank, in the order of the layout. */
export async function summariesOf(fit: TileFit): Promise<TileSummary[]> {
  const { layout, ranks } = fit;
  const found: TileSummary[] = [];
  for (const [tile, { rows, columns }] of layout.tiles.entries()) {
    const rank = ranks[tile] as number;
    if (rank === 0) continue;
    found.push({
      rows: [rows.start, rows.end],
      columns: [columns.start, columns.end],
      rank,
      cost: costOfTile(layout, tile, ranks),
      worth: await fit.worthOf(tile),
    });
  }
  return found;
}
