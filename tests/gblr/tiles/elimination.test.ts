// The blocks of tiles against the sum of the tiles in float64, and their windows against those that the cost of a
// layout is counted from.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Matrix } from "ml-matrix";
import type { Block, TileFactors } from "../../../workbench/gblr/tiles/block.ts";
import { blocksOf } from "../../../workbench/gblr/tiles/elimination.ts";
import {
  dividedLayout,
  type Layout,
  layoutCost,
  mostRank,
  type Tile,
  wholeLayout,
  windowsOf,
} from "../../../workbench/gblr/tiles/layout.ts";
import { random } from "./cases.ts";

interface Sizes {
  nIn: number;
  nOut: number;
}

const matrixOf = (seed: number, rows: number, columns: number): Matrix =>
  Matrix.from1DArray(rows, columns, random(seed, rows, columns).values);

/** Random factors of all tiles. */
const factorsFor = (layout: Layout, ranks: readonly number[], seed: number): (TileFactors | undefined)[] =>
  layout.tiles.map(({ rows, columns }, tile) => {
    const rank = ranks[tile] as number;
    if (rank === 0) return undefined;
    return {
      left: matrixOf(seed + 2 * tile, rows.end - rows.start, rank),
      right: matrixOf(seed + 2 * tile + 1, rank, columns.end - columns.start),
    };
  });

function sumOfTiles(layout: Layout, factors: readonly (TileFactors | undefined)[], { nIn, nOut }: Sizes): Matrix {
  const total = Matrix.zeros(nOut, nIn);
  for (const [tile, own] of factors.entries()) {
    if (!own) continue;
    const { rows, columns } = layout.tiles[tile] as Tile;
    const part = own.left.mmul(own.right);
    for (let i = rows.start; i < rows.end; i++) {
      for (let j = columns.start; j < columns.end; j++) {
        total.set(i, j, total.get(i, j) + part.get(i - rows.start, j - columns.start));
      }
    }
  }
  return total;
}

function sumOfBlocks(blocks: readonly Block[], { nIn, nOut }: Sizes): Matrix {
  const total = Matrix.zeros(nOut, nIn);
  for (const { rows, columns, left, right } of blocks) {
    expect([left.length, right.length]).toEqual([rows.end - rows.start, columns.end - columns.start]);
    for (let i = rows.start; i < rows.end; i++) {
      for (let j = columns.start; j < columns.end; j++) {
        const value = (left[i - rows.start] as number) * (right[j - columns.start] as number);
        total.set(i, j, total.get(i, j) + value);
      }
    }
  }
  return total;
}

const largestOf = (matrix: Matrix): number => Math.max(0, ...matrix.to1DArray().map(Math.abs));

/** Checks that blocks are the same matrix as the tiles. */
function expectSame(blocks: readonly Block[], expected: Matrix, sizes: Sizes): void {
  const difference = largestOf(Matrix.sub(sumOfBlocks(blocks, sizes), expected));
  expect(difference).toBeLessThanOrEqual(1e-9 * largestOf(expected));
}

/** Checks that the blocks of each tile have the windows that its cost is counted from, inside the tile. */
function expectWindows(layout: Layout, ranks: readonly number[], blocks: readonly Block[]): void {
  let next = 0;
  for (const [tile, place] of layout.tiles.entries()) {
    for (const { rows, columns } of windowsOf(layout, tile, ranks)) {
      const block = blocks[next++] as Block;
      expect(block.rows.end - block.rows.start).toBe(rows);
      expect(block.columns.end - block.columns.start).toBe(columns);
      for (const side of ["rows", "columns"] as const) {
        expect(block[side].start).toBeGreaterThanOrEqual(place[side].start);
        expect(block[side].end).toBeLessThanOrEqual(place[side].end);
      }
    }
  }
  expect(blocks.length).toBe(next);
}

/** Eliminates tiles of these ranks with random factors, and checks the result. */
function check(layout: Layout, ranks: readonly number[], sizes: Sizes, seed: number): void {
  const factors = factorsFor(layout, ranks, seed);
  const expected = sumOfTiles(layout, factors, sizes);
  const blocks = blocksOf(layout, factors) as Block[];
  expectSame(blocks, expected, sizes);
  expectWindows(layout, ranks, blocks);
}

const costOf = (blocks: readonly Block[]): number =>
  blocks.reduce((cost, { left, right }) => cost + left.length + right.length, 0);

const both = [["columns"], ["rows"]] as const;

describe("the blocks of tiles", () => {
  test("are the same matrix, in windows that get narrower by one", () => {
    const sizes = { nIn: 20, nOut: 14 };
    for (const rank of [1, 2, 5, 9]) check(wholeLayout(sizes), [rank], sizes, rank);
  });

  test.each([
    [6, 6],
    [9, 4],
    [3, 11],
    [2, 2],
    [2, 7],
  ])("are the same matrix at full rank, with windows down to two samples, for (%i, %i)", (nOut, nIn) => {
    const sizes = { nIn, nOut };
    check(wholeLayout(sizes), [Math.min(nIn, nOut)], sizes, 10 * nIn + nOut);
  });

  test.each(both)("of groups of %s are the same matrix, also where a group has rank 0", (divides) => {
    const sizes = { nIn: 24, nOut: 22 };
    check(dividedLayout(sizes, { divides, groups: 3, shared: 0 }), [0, 4, 0, 7], sizes, 3);
  });

  test.each(both)("of a shared tile and groups of %s are the same matrix, in windows that skip its rank", (divides) => {
    const sizes = { nIn: 26, nOut: 25 };
    const layout = dividedLayout(sizes, { divides, groups: 3, shared: 0.5 });
    check(layout, [6, 4, 5, 1], sizes, 4);
    check(layout, [6, 0, 0, 3], sizes, 5);
    check(layout, [5, 0, 0, 0], sizes, 6);
  });

  test.each(both)("of groups of %s are the same matrix where tiles use all the room that there is", (divides) => {
    const sizes = { nIn: 16, nOut: 16 };
    const layout = dividedLayout(sizes, { divides, groups: 2, shared: 0.5 });
    // 9 samples for the shared tile and 7 for the groups: their last windows are 1 sample long, and so extended to 2.
    check(layout, [9, 7, 7], sizes, 7);
    check(layout, [8, 8, 8], sizes, 8);
    check(layout, [15, 1, 1], sizes, 9);
  });

  test("are the same matrix for random layouts and ranks", () => {
    const side = fc.integer({ min: 4, max: 24 });
    const shares = fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 5, maxLength: 5 });
    fc.assert(
      fc.property(
        side,
        side,
        fc.constantFrom("columns" as const, "rows" as const),
        fc.integer({ min: 1, max: 2 }),
        shares,
        fc.nat(1e6),
        fc.boolean(),
        (nIn, nOut, divides, groups, parts, seed, stable) => {
          const sizes = { nIn, nOut };
          const layout = dividedLayout({ ...sizes, stable }, { divides, groups, shared: 0.5 });
          const ranks = layout.tiles.map(() => 0);
          for (const tile of layout.tiles.keys()) {
            ranks[tile] = Math.floor((parts[tile] as number) * (mostRank(layout, tile, ranks) + 1));
          }
          check(layout, ranks, sizes, seed);
        },
      ),
      { numRuns: 200, seed: 5 },
    );
  });

  test.each(both)("of a stable layout have factors as long as those of the tiles, for groups of %s", (divides) => {
    const sizes = { nIn: 40, nOut: 36 };
    const lengths = (blocks: readonly Block[]) =>
      Math.hypot(...blocks.map(({ left, right }) => Math.hypot(...left) * Math.hypot(...right)));
    const layoutOf = (stable: boolean) => dividedLayout({ ...sizes, stable }, { divides, groups: 2, shared: 0.5 });
    const ranks = [9, 8, 7];
    const whole = sumOfTiles(layoutOf(true), factorsFor(layoutOf(true), ranks, 3), sizes).norm();
    const [stable, compact] = [true, false].map((isStable) => {
      const layout = layoutOf(isStable);
      return blocksOf(layout, factorsFor(layout, ranks, 3)) as Block[];
    }) as [Block[], Block[]];
    expect(lengths(stable)).toBeLessThan(1.5 * whole);
    expect(lengths(compact)).toBeGreaterThan(4 * whole);
    expect(costOf(stable)).toBeGreaterThan(costOf(compact));
  });

  test("of a stable layout leave out what is zero", () => {
    const sizes = { nIn: 6, nOut: 7 };
    const own = { left: Matrix.zeros(7, 3), right: Matrix.zeros(3, 6) };
    own.left.set(3, 0, 2);
    own.right.set(0, 2, 5);
    const layout = wholeLayout({ ...sizes, stable: true });
    const blocks = blocksOf(layout, [own]) as Block[];
    expect(blocks.length).toBe(1);
    expect(sumOfBlocks(blocks, sizes).get(3, 2)).toBeCloseTo(10, 12);
    expect(blocksOf(layout, [{ left: Matrix.zeros(7, 2), right: Matrix.zeros(2, 6) }])).toEqual([]);
  });

  test("leave out rows and columns of zeros at the edges, and cost less then", () => {
    const sizes = { nIn: 18, nOut: 15 };
    const layout = wholeLayout(sizes);
    const [own] = factorsFor(layout, [4], 8) as [TileFactors];
    for (const row of [0, 1, 14]) own.left.setRow(row, [0, 0, 0, 0]);
    for (const column of [0, 16, 17]) own.right.setColumn(column, [0, 0, 0, 0]);
    const expected = sumOfTiles(layout, [own], sizes);
    const blocks = blocksOf(layout, [own]) as Block[];
    expectSame(blocks, expected, sizes);
    expect(costOf(blocks)).toBe(layoutCost(layout, [4]) - 4 * 6);
  });

  test.each(both)("beside a shared tile leave out zeros at the edges as well, for groups of %s", (divides) => {
    const sizes = { nIn: 22, nOut: 21 };
    const layout = dividedLayout(sizes, { divides, groups: 2, shared: 0.5 });
    const ranks = [4, 3, 2];
    const factors = factorsFor(layout, ranks, 9);
    for (const own of factors as TileFactors[]) {
      const rank = own.left.columns;
      for (const at of [0, 1, 20]) {
        if (divides === "columns") own.left.setRow(at, new Array(rank).fill(0));
        else own.right.setColumn(at, new Array(rank).fill(0));
      }
    }
    const expected = sumOfTiles(layout, factors, sizes);
    const blocks = blocksOf(layout, factors) as Block[];
    expectSame(blocks, expected, sizes);
    expect(costOf(blocks)).toBeLessThan(layoutCost(layout, ranks));
  });

  test("end where nothing is left of a tile", () => {
    const sizes = { nIn: 6, nOut: 7 };
    const own = { left: Matrix.zeros(7, 3), right: Matrix.zeros(3, 6) };
    own.left.set(3, 0, 2);
    own.right.set(0, 2, 5);
    const blocks = blocksOf(wholeLayout(sizes), [own]) as Block[];
    expect(blocks.length).toBe(1);
    expect(costOf(blocks)).toBe(4);
    expect(sumOfBlocks(blocks, sizes).get(3, 2)).toBeCloseTo(10, 12);
    expect(blocksOf(wholeLayout(sizes), [{ left: Matrix.zeros(7, 2), right: Matrix.zeros(2, 6) }])).toEqual([]);
  });

  test("are missing where the corners are zero and the edges are not", () => {
    // [[0, 1, 0], [1, 0, 1], [0, 1, 0]] has rank 2.
    const own = {
      left: new Matrix([
        [1, 0],
        [0, 1],
        [1, 0],
      ]),
      right: new Matrix([
        [0, 1, 0],
        [1, 0, 1],
      ]),
    };
    expect(blocksOf(wholeLayout({ nIn: 3, nOut: 3 }), [own])).toBeUndefined();
  });

  test.each(both)("are missing where a shared tile is singular at the ends of groups of %s", (divides) => {
    const sizes = { nIn: 16, nOut: 16 };
    const layout = dividedLayout(sizes, { divides, groups: 2, shared: 0.5 });
    const factors = factorsFor(layout, [2, 2, 2], 11);
    const shared = factors[0] as TileFactors;
    for (let at = 0; at < 16; at++) {
      if (at > 4 && at < 10) continue;
      if (divides === "columns") shared.left.setRow(at, [0, 0]);
      else shared.right.setColumn(at, [0, 0]);
    }
    expect(blocksOf(layout, factors)).toBeUndefined();
  });

  test("have factors of equal length", () => {
    const sizes = { nIn: 12, nOut: 9 };
    const layout = wholeLayout(sizes);
    for (const { left, right } of blocksOf(layout, factorsFor(layout, [5], 12)) as Block[]) {
      expect(Math.hypot(...left) / Math.hypot(...right)).toBeCloseTo(1, 9);
    }
  });
});
