// Turns a tile into the blocks of a stable layout: A B = (A Q)(Qᵀ B), where the orthogonal Q makes the factor of the
// undivided side triangular at its first samples. Windows on that side get shorter by one sample from block to block, and
// those on the other side do not. A rotation keeps the length of both factors, so blocks stay about as large as the terms
// of the fit, and hardly cancel each other. Gaussian elimination (elimination.ts) gives shorter windows, and large
// factors.

import { QrDecomposition } from "ml-matrix";
import { type Block, balanced, inMatrix, type TileFactors } from "./block.ts";
import { floorTo, type Layout, LEAST_WINDOW, type Tile } from "./layout.ts";
import { lengthOf } from "./metric.ts";

/** The blocks of a tile. Their sum equals the tile. */
export function rotated(layout: Layout, { tile, own }: { tile: number; own: TileFactors }): Block[] {
  const { rows, columns } = layout.tiles[tile] as Tile;
  const turns = layout.divides === "rows";
  // The side whose factor becomes triangular, as (samples, p).
  const along = turns ? own.right.transpose() : own.left;
  const rank = along.columns;
  const corner = along.subMatrix(0, rank - 1, 0, rank - 1);
  const turn = new QrDecomposition(corner.transpose()).orthogonalMatrix;
  const left = own.left.mmul(turn);
  const right = turn.transpose().mmul(own.right);
  const blocks = Array.from({ length: rank }, (_, k) => {
    const short = turns ? columns : rows;
    const window = {
      start: Math.min(floorTo(k, layout.quantum), lengthOf(short) - LEAST_WINDOW),
      end: lengthOf(short),
    };
    const whole = { start: 0, end: lengthOf(turns ? rows : columns) };
    const [down, across] = turns ? [whole, window] : [window, whole];
    const triangular = (values: number[]) => values.map((value, sample) => (sample < k ? 0 : value));
    const [l, r] = [left.getColumn(k), right.getRow(k)];
    return balanced({
      tile,
      rows: inMatrix(down, rows),
      columns: inMatrix(across, columns),
      left: Float64Array.from((turns ? l : triangular(l)).slice(down.start, down.end)),
      right: Float64Array.from((turns ? triangular(r) : r).slice(across.start, across.end)),
    });
  });
  return blocks.filter((block) => block.left.some(isNotZero) && block.right.some(isNotZero));
}

const isNotZero = (value: number): boolean => value !== 0;
