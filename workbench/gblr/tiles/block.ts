// The factors of a tile, and the blocks that they are turned into.

import type { Matrix } from "ml-matrix";
import { groupBy } from "../../../hub/text/group-by.ts";
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

/**
 * Blocks of which `size` at a time share their windows: the longest one of each tile's next blocks. The windows of a tile
 * follow each other from the longest to the shortest. A tile of which zeros were left out has zeros at the end.
 */
export function inGroups(blocks: readonly Block[], size: number): Block[] {
  if (size === 1) return [...blocks];
  return [...groupBy(blocks, ({ tile }) => tile).values()].flatMap((own) =>
    Array.from({ length: Math.ceil(own.length / size) }, (_, group) => {
      const members = own.slice(group * size, (group + 1) * size);
      const last = members.at(-1) as Block;
      const [rows, columns] = [
        spanning(members.map((each) => each.rows)),
        spanning(members.map((each) => each.columns)),
      ];
      const none = { left: new Float64Array(last.left.length), right: new Float64Array(last.right.length) };
      const filled = [...members, ...new Array<Block>(size - members.length).fill({ ...last, ...none })];
      return filled.map((block) => ({
        tile: last.tile,
        ...{ rows, columns },
        left: placed(block.left, { at: block.rows, within: rows }),
        right: placed(block.right, { at: block.columns, within: columns }),
      }));
    }).flat(),
  );
}

const spanning = (ranges: readonly Range[]): Range => ({
  start: Math.min(...ranges.map(({ start }) => start)),
  end: Math.max(...ranges.map(({ end }) => end)),
});

function placed(values: Float64Array, { at, within }: { at: Range; within: Range }): Float64Array {
  const all = new Float64Array(within.end - within.start);
  all.set(values, at.start - within.start);
  return all;
}

const normOf = (values: Float64Array): number => Math.sqrt(values.reduce((total, value) => total + value * value, 0));
