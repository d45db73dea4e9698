// Turns the tiles of a layout into GBLR blocks, by Gaussian elimination with pivots at the corners. A step takes one
// entry at a corner of the window as the pivot; its column and its row are the factors of one block, and what remains
// of the tile is zero in that row and that column, so the window gets one sample shorter on both sides. A tile of rank p
// is exhausted after p steps. Of the four corners the one with the largest entry is taken, which keeps the elimination
// well-conditioned. It runs on the host in float64.

import { LuDecomposition, type Matrix } from "ml-matrix";
import { type Layout, type Tile, windowsOf } from "./layout.ts";
import { lengthOf, type Range } from "./metric.ts";

/** The factors of a tile: A (a, p) and B (p, c). */
export interface TileFactors {
  left: Matrix;
  right: Matrix;
}

/** One block: its window on each side and the values in it. */
export interface Block {
  rows: Range;
  columns: Range;
  /** (rows) */
  left: Float64Array;
  /** (columns) */
  right: Float64Array;
}

/** How many samples may be taken from the first and from the last end of a side. */
interface Ends {
  first: number;
  last: number;
}

/**
 * The blocks of tiles, in the order of the tiles. Their sum equals the sum of the tiles, which this function changes.
 * @param factors of each tile; undefined for a tile of rank 0
 * @returns undefined if a pivot is zero at all corners
 */
export function blocksOf(layout: Layout, factors: readonly (TileFactors | undefined)[]): Block[] | undefined {
  const ranks = factors.map((own) => own?.left.columns ?? 0);
  const [shared] = factors;
  const ends = shared && factors.length > 1 ? removeCommon(layout, factors, shared) : undefined;
  const blocks: Block[] = [];
  for (const [tile, own] of factors.entries()) {
    if (!own) continue;
    const found = eliminated(layout, { tile, ranks, own, ends });
    if (found === undefined) return undefined;
    blocks.push(...found);
  }
  return blocks;
}

/**
 * Makes the groups' factors zero in as many samples of the undivided side as the shared tile has ranks, by adding to
 * them combinations of the shared tile's factor, and changes the shared tile's other factor so that the sum of the tiles
 * stays the same.
 * @returns how many of these samples are at each end of the side
 */
function removeCommon(layout: Layout, factors: readonly (TileFactors | undefined)[], shared: TileFactors): Ends {
  const turns = layout.divides === "rows";
  const basis = turns ? shared.right.transpose() : shared.left;
  const rank = basis.columns;
  const choices = [0, Math.floor(rank / 2), rank].map((first) => {
    const ends = { first, last: rank - first };
    const lu = new LuDecomposition(atEnds(basis, ends));
    return { ends, lu, pivot: leastPivot(lu) };
  });
  const { ends, lu } = choices.reduce((best, each) => (each.pivot > best.pivot ? each : best));
  for (const [tile, own] of factors.entries()) {
    if (tile === 0 || !own) continue;
    const { rows, columns } = layout.tiles[tile] as Tile;
    const part = turns ? own.right.transpose() : own.left;
    const share = lu.solve(atEnds(part, ends));
    part.sub(basis.mmul(share));
    if (turns) {
      own.right = part.transpose();
      addAt(shared.left, own.left.mmul(share.transpose()), { row: rows.start, column: 0 });
    } else {
      addAt(shared.right, share.mmul(own.right), { row: 0, column: columns.start });
    }
  }
  return ends;
}

/** The smallest pivot of a decomposition as a share of the largest. */
function leastPivot(lu: LuDecomposition): number {
  const pivots = lu.upperTriangularMatrix.diagonal().map(Math.abs);
  return Math.min(...pivots) / Math.max(...pivots);
}

/** The first and the last rows of a matrix. */
function atEnds(matrix: Matrix, { first, last }: Ends): Matrix {
  const rows = Array.from({ length: first + last }, (_, i) => (i < first ? i : matrix.rows - first - last + i));
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
  ranks: readonly number[];
  own: TileFactors;
  /** samples of the undivided side that belong to the shared tile */
  ends: Ends | undefined;
}

/** A window that shrinks from its ends. */
class Shrinking {
  start: number;
  end: number;
  private readonly left: Ends;

  constructor(range: Range, { first, last }: Ends) {
    this.start = range.start;
    this.end = range.end;
    this.left = { first, last };
  }

  /** The samples that may be taken next. */
  corners(): number[] {
    const found: number[] = [];
    if (this.left.first > 0) found.push(this.start);
    if (this.left.last > 0 && (this.end - 1 !== this.start || found.length === 0)) found.push(this.end - 1);
    return found;
  }

  take(sample: number): void {
    if (sample === this.start && this.left.first > 0) {
      this.start++;
      this.left.first--;
    } else {
      this.end--;
      this.left.last--;
    }
  }
}

const ANY: Ends = { first: Number.POSITIVE_INFINITY, last: Number.POSITIVE_INFINITY };

/** The windows of a tile's sides before its first step, local to the tile. */
function windowsFor(layout: Layout, { tile, ends }: TileToEliminate): { rows: Shrinking; columns: Shrinking } {
  const { rows, columns } = layout.tiles[tile] as Tile;
  const local = { rows: { start: 0, end: lengthOf(rows) }, columns: { start: 0, end: lengthOf(columns) } };
  const undivided = layout.divides === "columns" ? "rows" : "columns";
  const divided = layout.divides;
  const { start, end } = local[undivided];
  // The shared tile takes the samples that are reserved for it, and the groups what is between them.
  const own =
    ends === undefined
      ? new Shrinking({ start, end }, ANY)
      : tile === 0
        ? new Shrinking({ start, end }, ends)
        : new Shrinking({ start: start + ends.first, end: end - ends.last }, ANY);
  const across = new Shrinking(local[divided], ANY);
  return undivided === "rows" ? { rows: own, columns: across } : { rows: across, columns: own };
}

/** The blocks of one tile; undefined where all pivots are zero. */
function eliminated(layout: Layout, options: TileToEliminate): Block[] | undefined {
  const { tile, ranks, own } = options;
  const place = layout.tiles[tile] as Tile;
  const width = lengthOf(place.columns);
  const rest = flat(own.left.mmul(own.right));
  const { rows, columns } = windowsFor(layout, options);
  const blocks: Block[] = [];
  for (const lengths of windowsOf(layout, tile, ranks)) {
    const pivot = largest(rest, { rows: rows.corners(), columns: columns.corners(), width });
    if (pivot === undefined) return undefined;
    const down = Float64Array.from(
      { length: rows.end - rows.start },
      (_, i) => rest[(rows.start + i) * width + pivot.column] as number,
    );
    const across = rest.slice(pivot.row * width + columns.start, pivot.row * width + columns.end);
    subtract(rest, { down, across, pivot: pivot.value, rows, columns, width });
    blocks.push(
      balanced({
        rows: whole(rows, { length: lengths.rows, within: place.rows }),
        columns: whole(columns, { length: lengths.columns, within: place.columns }),
        left: filled(down, lengths.rows, rows.start === 0),
        right: filled(across, lengths.columns, columns.start === 0).map((value) => value / pivot.value),
      }),
    );
    rows.take(pivot.row);
    columns.take(pivot.column);
  }
  return blocks;
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

/** The window in the matrix. One that is too short to be live gets one more sample, in which the block is zero. */
function whole({ start, end }: Range, { length, within }: { length: number; within: Range }): Range {
  const first = end - start < length && start > 0 ? end - length : start;
  return { start: within.start + first, end: within.start + first + length };
}

/** The values of a window that was extended at its end, or at its start. */
function filled(values: Float64Array, length: number, atEnd: boolean): Float64Array {
  if (values.length === length) return values;
  const longer = new Float64Array(length);
  longer.set(values, atEnd ? 0 : length - values.length);
  return longer;
}

/** The same block with factors of equal length. */
function balanced(block: Block): Block {
  const balance = Math.sqrt(normOf(block.right) / normOf(block.left)) || 1;
  return {
    ...block,
    left: block.left.map((value) => value * balance),
    right: block.right.map((value) => value / balance),
  };
}

const normOf = (values: Float64Array): number => Math.sqrt(values.reduce((total, value) => total + value * value, 0));
