// The factors of a tile, and the blocks that they are turned into.

import type { Matrix } from "ml-matrix";
import type { Range } from "./metric.ts";

/** The factors of a tile: A (a, p) and B (p, c). */
export interface TileFactors {
  left: Matrix;
  right: Matrix;
}

/** One block: its tile, its window on each side and the values in it. */
export interface Block {
  /** index in the layout */
  tile: number;
  rows: Range;
  columns: Range;
  /** (rows) */
  left: Float64Array;
  /** (columns) */
  right: Float64Array;
}

/** A range of a tile in the matrix. */
export const inMatrix = ({ start, end }: Range, { start: from }: Range): Range => ({
  start: from + start,
  end: from + end,
});

/** The same block with factors of equal length. */
export function balanced(block: Block): Block {
  const balance = Math.sqrt(normOf(block.right) / normOf(block.left)) || 1;
  return {
    ...block,
    left: block.left.map((value) => value * balance),
    right: block.right.map((value) => value / balance),
  };
}

const normOf = (values: Float64Array): number => Math.sqrt(values.reduce((total, value) => total + value * value, 0));
