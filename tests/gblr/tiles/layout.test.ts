// The costs and ranks of layouts against the rules by which GBLR matrices count their blocks, and against trying all
// ranks.

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  dividedLayout,
  equalRanks,
  type Layout,
  layoutCost,
  mostRank,
  skipped,
  wholeLayout,
  wholeRank,
  windowsOf,
} from "../../../workbench/gblr/tiles/layout.ts";
import { blockUse } from "../../../workbench/gblr/widths.ts";

const side = fc.integer({ min: 2, max: 90 });

/** A layout of a random matrix. */
const layouts = fc
  .record({
    nIn: side,
    nOut: side,
    divides: fc.constantFrom("columns" as const, "rows" as const),
    groups: fc.integer({ min: 1, max: 5 }),
    shared: fc.constantFrom(0, 0.5),
  })
  .filter(({ nIn, nOut, groups, divides }) => 2 * groups <= (divides === "columns" ? nIn : nOut))
  .map((all) => ({ nIn: all.nIn, nOut: all.nOut, layout: dividedLayout(all, all) }));

/** Ranks that the layout allows, as random as the shares. */
function ranksFor(layout: Layout, shares: readonly number[]): number[] {
  const ranks = layout.tiles.map(() => 0);
  for (const tile of layout.tiles.keys()) {
    ranks[tile] = Math.floor((shares[tile] as number) * (mostRank(layout, tile, ranks) + 1));
  }
  return ranks;
}

const shares = fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 6, maxLength: 6 });

test("the cost of a layout is what a GBLR matrix counts for blocks of its windows, all of them live", () => {
  fc.assert(
    fc.property(layouts, shares, ({ nIn, nOut, layout }, parts) => {
      const ranks = ranksFor(layout, parts);
      const windows = layout.tiles.flatMap((_, tile) => windowsOf(layout, tile, ranks));
      const widths = Float32Array.from([
        ...windows.map(({ columns }) => columns / nIn),
        ...windows.map(({ rows }) => rows / nOut),
      ]);
      const { cost, live } = blockUse(widths, { nIn, nOut });
      expect(live).toEqual(windows.map(() => true));
      expect(layoutCost(layout, ranks)).toBe(cost);
    }),
    { numRuns: 300, seed: 1 },
  );
});

test("a tile of rank p saves p (p - 1) multiply-adds, and p times the shared rank beside a shared tile", () => {
  const whole = wholeLayout({ nIn: 50, nOut: 30 });
  expect(layoutCost(whole, [12])).toBe(12 * 80 - 12 * 11);
  const columns = dividedLayout({ nIn: 50, nOut: 30 }, { divides: "columns", groups: 2, shared: 0.5 });
  expect(layoutCost(columns, [7, 4, 0])).toBe(7 * 80 - 7 * 6 + 4 * (30 + 25) - 4 * 3 - 4 * 7);
  const rows = dividedLayout({ nIn: 50, nOut: 30 }, { divides: "rows", groups: 2, shared: 0.5 });
  expect(layoutCost(rows, [7, 0, 4])).toBe(7 * 80 - 7 * 6 + 4 * (50 + 15) - 4 * 3 - 4 * 7);
});

test("groups divide a side without gaps, and each tile has room for its largest rank and no more", () => {
  fc.assert(
    fc.property(layouts, shares, ({ nIn, nOut, layout }, parts) => {
      const [, ...groups] = layout.tiles;
      const edges = groups.map((tile) => tile[layout.divides]);
      expect(edges[0]?.start).toBe(0);
      expect(edges.at(-1)?.end).toBe(layout.divides === "columns" ? nIn : nOut);
      for (const [i, edge] of edges.slice(1).entries()) expect(edge.start).toBe(edges[i]?.end as number);

      const ranks = ranksFor(layout, parts);
      for (const [tile, { rows, columns }] of layout.tiles.entries()) {
        const skip = skipped(layout, tile, ranks);
        const room = Math.min(rows.end - rows.start - skip.rows, columns.end - columns.start - skip.columns);
        expect(ranks[tile] as number).toBeLessThanOrEqual(room);
        // The groups need samples of the undivided side that the shared tile leaves.
        if (tile > 0) expect(mostRank(layout, tile, ranks)).toBe(room);
      }
    }),
    { numRuns: 200, seed: 2 },
  );
});

/** Groups of the columns of a matrix, with a weight for each column. */
const groupsOf = (weights: readonly number[], { groups, quantum }: { groups: number; quantum: number }) =>
  dividedLayout({ nIn: weights.length, nOut: 16, quantum }, { divides: "columns", groups, shared: 0, weights })
    .tiles.slice(1)
    .map(({ columns }) => columns);

test("each group has at least half of an equal share, also where all weight is in few samples", () => {
  const weight = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true }), fc.constant(1e9));
  const how = fc.record({ groups: fc.integer({ min: 1, max: 5 }), quantum: fc.constantFrom(1, 2, 8) });
  const sides = how.chain((each) =>
    fc.array(weight, { minLength: each.groups * each.quantum, maxLength: 90 }).map((weights) => ({ ...each, weights })),
  );
  fc.assert(
    fc.property(sides, ({ weights, groups, quantum }) => {
      const multiples = Math.round(weights.length / quantum);
      for (const { start, end } of groupsOf(weights, { groups, quantum })) {
        expect(start % quantum).toBe(0);
        expect(end > start).toBe(true);
        expect(Math.round(end / quantum) - start / quantum).toBeGreaterThanOrEqual(multiples / groups / 2);
      }
    }),
    { numRuns: 300, seed: 5 },
  );
});

test("groups have equal sums of weights, up to one sample", () => {
  const weights = fc.array(fc.double({ min: 0.5, max: 1.5, noNaN: true }), { minLength: 30, maxLength: 90 });
  fc.assert(
    fc.property(weights, fc.integer({ min: 1, max: 5 }), (all, groups) => {
      const sum = (from = 0, to = all.length) => all.slice(from, to).reduce((total, each) => total + each, 0);
      for (const { start, end } of groupsOf(all, { groups, quantum: 1 }))
        expect(Math.abs(sum(start, end) - sum() / groups)).toBeLessThan(1.5 + 1e-9);
    }),
    { numRuns: 200, seed: 6 },
  );
});

test("the rank of the whole matrix is the largest that is affordable, and never below that of plain factors", () => {
  fc.assert(
    fc.property(side, side, fc.double({ min: 0.01, max: 1.5, noNaN: true }), (nIn, nOut, budget) => {
      const sides = { nIn, nOut };
      const allowed = Math.floor(budget * nIn * nOut);
      const layout = wholeLayout(sides);
      const affordable = Array.from({ length: Math.min(nIn, nOut) + 1 }, (_, rank) => rank).filter(
        (rank) => layoutCost(layout, [rank]) <= allowed,
      );
      expect(wholeRank(sides, allowed)).toBe(Math.max(...affordable));
      const plain = Math.min(nIn, nOut, Math.floor(allowed / (nIn + nOut)));
      expect(wholeRank(sides, allowed)).toBeGreaterThanOrEqual(plain);
    }),
    { numRuns: 200, seed: 3 },
  );
});

test("equal ranks of groups are the largest that are affordable beside the shared tile", () => {
  fc.assert(
    fc.property(layouts, fc.double({ min: 0.05, max: 1, noNaN: true }), ({ nIn, nOut, layout }, budget) => {
      const allowed = Math.floor(budget * nIn * nOut);
      const shared = Math.floor(layout.shared * wholeRank({ nIn, nOut }, allowed));
      const [first, ...groups] = equalRanks(layout, shared, allowed);
      expect(first).toBe(shared);
      const rank = groups[0] as number;
      expect(groups).toEqual(groups.map(() => rank));
      const costAt = (each: number) => layoutCost(layout, [shared, ...groups.map(() => each)]);
      expect(costAt(rank)).toBeLessThanOrEqual(allowed);
      const more = [shared, ...groups.map(() => rank + 1)];
      const fits = groups.every((_, i) => rank + 1 <= mostRank(layout, i + 1, more));
      expect(fits && costAt(rank + 1) <= allowed).toBe(false);
    }),
    { numRuns: 200, seed: 4 },
  );
});
