// Turns the tiles of a layout into GBLR blocks, by Gaussian elimination with pivots at the corners. A step takes one
// entry at a corner of the window as the pivot; its column and its row are the factors of one block, and what remains
// of the tile is zero in that row and that column, so the window gets one sample shorter on both sides. A tile of rank p
// is exhausted after p steps. Of the four corners the one with the largest entry is taken, which keeps the elimination
// well-conditioned; with a quantum, corners have several samples (shrinking-window.ts). Rows and columns of zeros at the
// edges of a tile are left out, so that blocks can be narrower, and fewer, than their layout says. The tiles of a stable
// layout are rotated instead (rotation.ts). It runs on the host in float64.

import { LuDecomposition, type Matrix } from "ml-matrix";
import { type Block, balanced, inMatrix, type TileFactors } from "./block.ts";
import { floorTo, type Layout, type Tile } from "./layout.ts";
import { lengthOf, type Range } from "./metric.ts";
import { rotated } from "./rotation.ts";
import { ANY, type Ends, ShrinkingWindow } from "./shrinking-window.ts";

/** Samples of the undivided side that belong to the shared tile: those at both ends of what is not zero. */
interface Reserved {
  within: Range;
  ends: Ends;
}

/**
 * The blocks of tiles, in the order of the tiles. Their sum equals the sum of the tiles, which this function changes.
 * @param factors of each tile; undefined for a tile of rank 0
 * @returns undefined if a pivot is zero at all corners
 */
export function blocksOf(layout: Layout, factors: readonly (TileFactors | undefined)[]): Block[] | undefined {
  if (layout.stable) return factors.flatMap((own, tile) => (own ? rotated(layout, { tile, own }) : []));
  const [shared] = factors;
  const isShared = shared !== undefined && factors.length > 1;
  const reserved = isShared ? removeCommon(layout, factors, shared) : undefined;
  if (isShared && reserved === undefined) return undefined;
  const blocks: Block[] = [];
  for (const [tile, own] of factors.entries()) {
    if (!own) continue;
    const found = eliminated(layout, { tile, own, reserved });
    if (found === undefined) return undefined;
    blocks.push(...found);
  }
  return blocks;
}

/**
 * Makes the groups' factors zero in as many samples of the undivided side as the shared tile has ranks, by adding to
 * them combinations of the shared tile's factor, and changes the shared tile's other factor so that the sum of the tiles
 * stays the same.
 * @returns these samples; undefined if the shared tile's factor is singular in all choices of them
 */
function removeCommon(
  layout: Layout,
  factors: readonly (TileFactors | undefined)[],
  shared: TileFactors,
): Reserved | undefined {
  const turns = layout.divides === "rows";
  const along = ({ left, right }: TileFactors) => (turns ? right.transpose() : left);
  const basis = along(shared);
  const rank = basis.columns;
  const within = withoutZeros(factors.flatMap((own) => (own ? [along(own)] : [])));
  if (lengthOf(within) < rank) return undefined;
  const { quantum } = layout;
  // All choices leave the same number of samples to the windows of the groups.
  const isWhole = basis.rows % quantum === 0;
  const choices = (isWhole ? [0, floorTo(rank / 2, quantum), rank] : [rank]).map((first) => {
    const reserved = { within, ends: { first, last: rank - first } };
    const lu = new LuDecomposition(atEnds(basis, reserved));
    return { reserved, lu, pivot: leastPivot(lu) };
  });
  const { reserved, lu, pivot } = choices.reduce((best, each) => (each.pivot > best.pivot ? each : best));
  if (pivot === 0) return undefined;
  for (const [tile, own] of factors.entries()) {
    if (tile === 0 || !own) continue;
    const { rows, columns } = layout.tiles[tile] as Tile;
    const part = along(own);
    const share = lu.solve(atEnds(part, reserved));
    part.sub(basis.mmul(share));
    if (turns) {
      own.right = part.transpose();
      addAt(shared.left, own.left.mmul(share.transpose()), { row: rows.start, column: 0 });
    } else {
      addAt(shared.right, share.mmul(own.right), { row: 0, column: columns.start });
    }
  }
  return reserved;
}

/** The smallest pivot of a decomposition as a share of the largest; 0 for a singular matrix. */
function leastPivot(lu: LuDecomposition): number {
  const pivots = lu.upperTriangularMatrix.diagonal().map(Math.abs);
  return Math.min(...pivots) / Math.max(...pivots) || 0;
}

/** The range of rows outside of which all matrices, which have the same number of rows, are zero. */
function withoutZeros(matrices: readonly Matrix[]): Range {
  const isZero = (row: number) => matrices.every((matrix) => matrix.getRow(row).every((value) => value === 0));
  let [start, end] = [0, matrices[0]?.rows ?? 0];
  while (start < end && isZero(start)) start++;
  while (start < end && isZero(end - 1)) end--;
  return { start, end };
}

/** The first and the last rows of a range of a matrix. */
function atEnds(matrix: Matrix, { within, ends: { first, last } }: Reserved): Matrix {
  const rows = Array.from({ length: first + last }, (_, i) =>
    i < first ? within.start + i : within.end - first - last + i,
  );
  return matrix.selection(
    rows,
    Array.from({ length: matrix.columns }, (_, j) => j),
  );
}

function addAt(matrix: Matrix, other: Matrix, { row, column }: { row: number; column: number }): void {
  for (let i = 0; i < other.rows; i++) {
    for (let j = 0; j < other.columns; j++) {
      matrix.set(row + i, column + j, matrix.get(row + i, column + j) + other.get(i, j));
    }
  }
}

interface TileToEliminate {
  tile: number;
  own: TileFactors;
  /** undefined if there is no shared tile beside groups */
  reserved: Reserved | undefined;
}

/** The windows of a tile's sides before its first step, local to the tile. */
function windowsFor(
  layout: Layout,
  { tile, reserved }: TileToEliminate,
): { rows: ShrinkingWindow; columns: ShrinkingWindow } {
  const { rows, columns } = layout.tiles[tile] as Tile;
  const local = { rows: { start: 0, end: lengthOf(rows) }, columns: { start: 0, end: lengthOf(columns) } };
  const undivided = layout.divides === "columns" ? "rows" : "columns";
  const { quantum, divides } = layout;
  const side = lengthOf(local[undivided]);
  // The shared tile takes the samples that are reserved for it, and the groups what is between them.
  const { within, ends } = reserved ?? { within: local[undivided], ends: { first: 0, last: 0 } };
  const begun = ends.last % quantum !== 0 ? "last" : ends.first % quantum !== 0 ? "first" : undefined;
  const own =
    reserved && tile === 0
      ? new ShrinkingWindow(within, { ends, side, quantum })
      : new ShrinkingWindow(
          { start: within.start + ends.first, end: within.end - ends.last },
          { ends: ANY, side, quantum, begun },
        );
  const across = new ShrinkingWindow(local[divides], { ends: ANY, side: lengthOf(local[divides]), quantum });
  return undivided === "rows" ? { rows: own, columns: across } : { rows: across, columns: own };
}

/** The blocks of one tile; undefined where all pivots are zero. */
function eliminated(layout: Layout, options: TileToEliminate): Block[] | undefined {
  const { tile, own } = options;
  const place = layout.tiles[tile] as Tile;
  const width = lengthOf(place.columns);
  const rest = flat(own.left.mmul(own.right));
  const { rows, columns } = windowsFor(layout, options);
  const blocks: Block[] = [];
  const zeroAt = (row: number, column: number) => rest[row * width + column] === 0;
  for (let step = 0; step < own.left.columns; step++) {
    rows.trim((row) => everyOf(columns, (column) => zeroAt(row, column)));
    columns.trim((column) => everyOf(rows, (row) => zeroAt(row, column)));
    if (rows.isEmpty || columns.isEmpty) break;
    const pivot = largest(rest, { rows: rows.corners(), columns: columns.corners(), width });
    if (pivot === undefined) return undefined;
    const down = Float64Array.from(
      { length: rows.end - rows.start },
      (_, i) => rest[(rows.start + i) * width + pivot.column] as number,
    );
    const across = rest.slice(pivot.row * width + columns.start, pivot.row * width + columns.end);
    subtract(rest, { down, across, pivot: pivot.value, rows, columns, width });
    // With a quantum, the window keeps the row and the column, whose rounding errors no block must have.
    for (let row = rows.start; row < rows.end; row++) rest[row * width + pivot.column] = 0;
    rest.fill(0, pivot.row * width + columns.start, pivot.row * width + columns.end);
    blocks.push(
      balanced({
        tile,
        rows: inMatrix(rows.covered(), place.rows),
        columns: inMatrix(columns.covered(), place.columns),
        left: rows.placed(down),
        right: columns.placed(across).map((value) => value / pivot.value),
      }),
    );
    rows.take(pivot.row);
    columns.take(pivot.column);
  }
  return blocks;
}

/** Whether all samples of a range have a property. */
function everyOf({ start, end }: Range, has: (sample: number) => boolean): boolean {
  for (let sample = start; sample < end; sample++) if (!has(sample)) return false;
  return true;
}

/** A matrix row by row. */
function flat(matrix: Matrix): Float64Array {
  const values = new Float64Array(matrix.rows * matrix.columns);
  for (let i = 0; i < matrix.rows; i++) values.set(matrix.getRow(i), i * matrix.columns);
  return values;
}

/** The entry of the largest size at these rows and columns; undefined if all are zero. */
function largest(
  values: Float64Array,
  { rows, columns, width }: { rows: number[]; columns: number[]; width: number },
): { row: number; column: number; value: number } | undefined {
  let best = { row: 0, column: 0, value: 0 };
  for (const row of rows) {
    for (const column of columns) {
      const value = values[row * width + column] as number;
      if (Math.abs(value) > Math.abs(best.value)) best = { row, column, value };
    }
  }
  return best.value === 0 || !Number.isFinite(best.value) ? undefined : best;
}

interface Step {
  down: Float64Array;
  across: Float64Array;
  pivot: number;
  rows: Range;
  columns: Range;
  width: number;
}

/** Subtracts down · acrossᵀ / pivot within the window, in place. */
function subtract(values: Float64Array, { down, across, pivot, rows, columns, width }: Step): void {
  for (let i = rows.start; i < rows.end; i++) {
    const factor = (down[i - rows.start] as number) / pivot;
    if (factor === 0) continue;
    const at = i * width + columns.start;
    for (let j = 0; j < across.length; j++) {
      values[at + j] = (values[at + j] as number) - factor * (across[j] as number);
    }
  }
}
