// How tiles divide a matrix, and what they cost. A tile is a window of rows and columns that has a low rank. Its
// factors are not unique: A B = (A G)(G⁻¹ B). This freedom makes both factors triangular at a corner, which the
// staggered windows of GBLR blocks can express, so that a tile of rank p with a rows and c columns costs about
// p (a + c − p) multiply-adds instead of p (a + c). A layout has one tile of the whole matrix, the shared one, and
// further tiles for groups of columns or of rows. What a group has in common with the shared tile is a freedom as well,
// of p times the shared rank. docs/method.md derives both. Blocks that use the whole freedom cancel each other; those of
// a stable layout use an orthogonal G, which makes one factor triangular, and cost about p (a + c − p / 2). With a
// quantum, windows begin and end at its multiples, which fast products need; they are longer then, so ranks at the same
// cost are smaller. With a block rank R, R blocks at a time share a window: ranks are multiples of R, and windows get
// shorter by multiples of R. This file uses no tensors.

import type { Sides } from "../init/rules.ts";
import { lengthOf, type Range } from "./metric.ts";

/** A window of a matrix. */
export interface Tile {
  rows: Range;
  columns: Range;
}

/** The tiles of a matrix: the first one is the whole matrix, the others divide its columns or its rows. */
export interface Layout {
  tiles: readonly Tile[];
  /** the side that the groups divide */
  divides: "columns" | "rows";
  /** initial rank of the shared tile, as a share of the rank that it would have without groups; 0 if it is not used */
  shared: number;
  /**
   * q: windows of blocks begin and end at multiples of q samples from the edges of their tile, or at the end of the side; 1
   * for any sample. It is a multiple of the block rank
   */
  quantum: number;
  /** R: the number of blocks that share a window; ranks are multiples of it */
  blockRank: number;
  /** whether blocks must not cancel each other: then factors are triangular on the undivided side only */
  stable: boolean;
}

/** The largest multiple of q that is at most x. */
export const floorTo = (x: number, q: number): number => q * Math.floor(x / q);
/** The smallest multiple of q that is at least x. */
export const ceilTo = (x: number, q: number): number => q * Math.ceil(x / q);

/** Number of samples of the smallest live window, see widths.ts. */
export const LEAST_WINDOW = 2;

/** The sides of a matrix, and what its layouts have in common. Defaults: quantum 1, block rank 1, not stable */
export type QuantizedSides = Sides & { quantum?: number; blockRank?: number; stable?: boolean };

/** The smallest number that is a multiple of both. */
const commonMultiple = (a: number, b: number): number => {
  let multiple = a;
  while (multiple % b !== 0) multiple += a;
  return multiple;
};

/** How a layout divides one side. */
export type Division = Pick<Layout, "divides" | "shared"> & {
  /** number of groups */
  groups: number;
  /** a number from 0 for each sample of the divided side: groups have nearly equal sums. Default: equal numbers */
  weights?: ArrayLike<number>;
};

/** A layout with groups of one side. */
export function dividedLayout(
  { nIn, nOut, quantum = 1, blockRank = 1, stable = false }: QuantizedSides,
  { divides, groups, shared, weights }: Division,
): Layout {
  const edges = edgesOf(divides === "columns" ? nIn : nOut, { groups, quantum, weights });
  const whole: Tile = { rows: { start: 0, end: nOut }, columns: { start: 0, end: nIn } };
  const parts = Array.from({ length: groups }, (_, i) => ({
    ...whole,
    [divides]: { start: edges[i], end: edges[i + 1] },
  }));
  // The first blocks of a tile take as many samples as their number, so that a window gets shorter after R of them.
  return { tiles: [whole, ...parts], divides, shared, quantum: commonMultiple(quantum, blockRank), blockRank, stable };
}

/**
 * The samples at which groups begin, and the length of the side. In multiples of the quantum, where the end of the side
 * counts as the nearest one, each group has at least half of an equal share.
 */
function edgesOf(
  length: number,
  { groups, quantum, weights }: { groups: number; quantum: number; weights?: ArrayLike<number> | undefined },
): number[] {
  const chunks = Math.round(length / quantum);
  const least = Math.ceil(chunks / groups / 2);
  const sums = new Float64Array(length + 1);
  for (let i = 0; i < length; i++) sums[i + 1] = (sums[i] as number) + (weights?.[i] ?? 1);
  const total = sums[length] as number;
  const edges = [0];
  let sample = 0;
  for (let group = 1; group < groups; group++) {
    while (total > 0 && (sums[sample] as number) < (group / groups) * total) sample++;
    const wanted = Math.round((total > 0 ? sample : (group * length) / groups) / quantum);
    const first = (edges.at(-1) as number) / quantum + least;
    edges.push(quantum * Math.max(first, Math.min(chunks - least * (groups - group), wanted)));
  }
  return [...edges, length];
}

/** The layout with the shared tile alone. */
export const wholeLayout = (sides: QuantizedSides): Layout => {
  const { tiles, ...layout } = dividedLayout(sides, { divides: "columns", groups: 1, shared: 1 });
  return { tiles: tiles.slice(0, 1), ...layout };
};

/** Indices of the tiles that can have a rank above 0. */
export const tilesInUse = ({ tiles, shared }: Layout): number[] =>
  [...tiles.keys()].filter((tile) => tile > 0 || shared > 0);

/** Rows and columns at the corner of a tile in which its factors are zero because of the shared tile. */
export function skipped(
  { divides, stable }: Layout,
  tile: number,
  ranks: readonly number[],
): { rows: number; columns: number } {
  const common = tile === 0 || stable ? 0 : (ranks[0] as number);
  return divides === "columns" ? { rows: common, columns: 0 } : { rows: 0, columns: common };
}

/** The lengths of the windows of the blocks of a tile, in the order in which they get narrower. */
export function windowsOf(layout: Layout, tile: number, ranks: readonly number[]): { rows: number; columns: number }[] {
  const { rows, columns } = layout.tiles[tile] as Tile;
  const skip = skipped(layout, tile, ranks);
  const left = (side: Range, taken: number) => Math.max(LEAST_WINDOW, lengthOf(side) - floorTo(taken, layout.quantum));
  const { divides, stable } = layout;
  return Array.from({ length: ranks[tile] as number }, (_, k) => ({
    rows: left(rows, skip.rows + (stable && divides === "rows" ? 0 : k)),
    columns: left(columns, skip.columns + (stable && divides === "columns" ? 0 : k)),
  }));
}

/** Multiply-adds per row of all tiles with these ranks. */
export function layoutCost(layout: Layout, ranks: readonly number[]): number {
  let cost = 0;
  for (const tile of layout.tiles.keys()) {
    for (const { rows, columns } of windowsOf(layout, tile, ranks)) cost += rows + columns;
  }
  return cost;
}

/** The largest rank of a tile while the other tiles have these ranks, a multiple of the block rank. */
export function mostRank(layout: Layout, tile: number, ranks: readonly number[]): number {
  const room = (of: number, common: number) => {
    const { rows, columns } = layout.tiles[of] as Tile;
    const [free, across] = layout.divides === "columns" ? [rows, columns] : [columns, rows];
    return Math.min(lengthOf(free) - common, lengthOf(across));
  };
  const common = tile > 0 ? (ranks[0] as number) : Math.max(0, ...ranks.slice(1));
  return floorTo(Math.max(0, room(tile, common)), layout.blockRank);
}

/** The ranks of all tiles with a given rank of the shared tile: groups have the largest equal rank within `allowed`. */
export function equalRanks(layout: Layout, shared: number, allowed: number): number[] {
  const groups = layout.tiles.length - 1;
  const ranksFor = (rank: number) => [shared, ...new Array<number>(groups).fill(rank)];
  let best = ranksFor(0);
  for (let rank = layout.blockRank; groups > 0; rank += layout.blockRank) {
    const ranks = ranksFor(rank);
    const fits = layout.tiles.every((_, tile) => tile === 0 || rank <= mostRank(layout, tile, ranks));
    if (!fits || layoutCost(layout, ranks) > allowed) break;
    best = ranks;
  }
  return best;
}

/** Multiply-adds per row of a matrix of this rank as one tile whose windows begin and end at any sample. */
export const tileCost = (rank: number, { nIn, nOut }: Sides): number => rank * (nIn + nOut - rank) + rank;

/** The largest rank of the shared tile alone that costs at most `allowed`. */
export function wholeRank(sides: QuantizedSides, allowed: number): number {
  const layout = wholeLayout(sides);
  const { blockRank } = layout;
  let [low, high] = [0, Math.floor(Math.min(sides.nIn, sides.nOut) / blockRank)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (layoutCost(layout, [middle * blockRank]) <= allowed) low = middle;
    else high = middle - 1;
  }
  return low * blockRank;
}
