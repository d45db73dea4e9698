// What the tiles of a fit are and what each is worth, for records and reports. Blocks have no worth of their own: the
// elimination chooses them among many that have the same sum, see elimination.ts, but their sum is the tile.

import type { Block } from "./block.ts";
import type { TileFit } from "./fit.ts";
import { lengthOf } from "./metric.ts";

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
   * by how much the square of the relative output error would be larger without this tile. Tiles overlap, so these
   * numbers do not add up to 1
   */
  worth: number;
}

/**
 * The tiles of a fit that have blocks, in the order of the layout.
 * @param blocks those of the fit, see elimination.ts
 */
export async function summariesOf(fit: TileFit, blocks: readonly Block[]): Promise<TileSummary[]> {
  const found: TileSummary[] = [];
  for (const [tile, { rows, columns }] of fit.layout.tiles.entries()) {
    const own = blocks.filter((block) => block.tile === tile);
    if (own.length === 0) continue;
    found.push({
      rows: [rows.start, rows.end],
      columns: [columns.start, columns.end],
      rank: own.length,
      cost: own.reduce((total, block) => total + lengthOf(block.rows) + lengthOf(block.columns), 0),
      worth: await fit.worthOf(tile),
    });
  }
  return found;
}
