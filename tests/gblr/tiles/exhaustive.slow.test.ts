// The tile search against trying all ranks: each choice of ranks within the budget is fitted in float64 by block
// coordinate descent from several starts, which shares no code with the search.

import { expect, test } from "bun:test";
import { svdFloat64, symmetricEigenFloat64 } from "../../../workbench/engine/linalg/float64.ts";
import { dividedLayout, type Layout, layoutCost, mostRank, wholeLayout } from "../../../workbench/gblr/tiles/layout.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { COVARIANCES, normOf, random, rootOf, times, transposed, type Values } from "./cases.ts";
import { outputError, searched } from "./found.ts";

const at = (values: ArrayLike<number>, i: number): number => values[i] as number;

/** Rows `start` to `end` of a matrix. */
const rowsOf = ({ values, columns }: Values, { start, end }: { start: number; end: number }): Values => ({
  values: values.slice(start * columns, end * columns),
  rows: end - start,
  columns,
});

/** Orthonormal rows that span the rows of a matrix. */
function basisOf(rows: Values): Values {
  const { values, vectors } = symmetricEigenFloat64(times(rows, transposed(rows)).values, rows.rows);
  const c = rows.rows;
  const scaled = vectors.map((value, i) => value / Math.sqrt(at(values, Math.floor(i / c))));
  return times({ values: scaled, rows: c, columns: c }, rows);
}

/** Ranks of all tiles that are affordable, and of which none can be raised. */
function choicesOf(layout: Layout, allowed: number): number[][] {
  const found: number[][] = [];
  const count = layout.tiles.length;
  const isOpen = (tile: number) => tile > 0 || count === 1 || layout.shared > 0;
  const fits = (ranks: number[]) =>
    layoutCost(layout, ranks) <= allowed && ranks.every((rank, tile) => rank <= mostRank(layout, tile, ranks));
  const extend = (ranks: number[], tile: number): void => {
    if (tile === count) {
      const canGrow = ranks.some((_, i) => isOpen(i) && fits(ranks.map((rank, k) => (k === i ? rank + 1 : rank))));
      if (!canGrow) found.push(ranks);
      return;
    }
    for (let rank = 0; ; rank++) {
      const next = ranks.map((own, i) => (i === tile ? rank : own));
      if (!fits(next)) return;
      extend(next, tile + 1);
      if (!isOpen(tile)) return;
    }
  };
  extend(new Array(count).fill(0), 0);
  return found;
}

/** A matrix after the product with Σ^½, whose norm is 1, and the bases of the tiles' columns. */
interface Problem {
  seen: Values;
  layout: Layout;
  bases: Values[];
}

/** The squared error of tiles of these ranks after block coordinate descent, in this order of the tiles. */
function fitted({ seen, layout, bases }: Problem, ranks: readonly number[], order: readonly number[], rounds: number) {
  const rest = seen.values.slice();
  const { columns: n } = seen;
  const parts = layout.tiles.map(() => undefined as Values | undefined);
  const shift = (tile: number, by: 1 | -1) => {
    const part = parts[tile];
    if (!part) return;
    const from = (layout.tiles[tile]?.rows.start as number) * n;
    part.values.forEach((value, i) => {
      rest[from + i] = at(rest, from + i) + by * value;
    });
  };
  for (let round = 0; round < rounds; round++) {
    for (const tile of order) {
      const rank = ranks[tile] as number;
      if (rank === 0) continue;
      shift(tile, 1);
      const own = rowsOf({ ...seen, values: rest }, (layout.tiles[tile] as Layout["tiles"][number]).rows);
      const basis = bases[tile] as Values;
      const coordinates = times(own, transposed(basis));
      const { left } = svdFloat64(coordinates, { rank, exact: false });
      const vectors = { values: left, rows: rank, columns: own.rows };
      parts[tile] = times(transposed(vectors), times(times(vectors, coordinates), basis));
      shift(tile, -1);
    }
  }
  return normOf({ ...seen, values: rest });
}

/** The smallest error of all ranks of these layouts. */
function bestError(seen: Values, root: Values, layouts: readonly Layout[], allowed: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (const layout of layouts) {
    const bases = layout.tiles.map(({ columns }) => basisOf(rowsOf(root, columns)));
    const problem = { seen, layout, bases };
    const tiles = [...layout.tiles.keys()];
    const tried = choicesOf(layout, allowed).map((ranks) => ({ ranks, error: fitted(problem, ranks, tiles, 4) }));
    // The most promising ranks are fitted to the end, from starts that differ by the order of the tiles.
    const promising = tried.toSorted((a, b) => a.error - b.error).slice(0, 12);
    for (const { ranks } of promising) {
      for (const order of [tiles, tiles.toReversed()]) best = Math.min(best, fitted(problem, ranks, order, 40));
    }
  }
  return best;
}

/** Layouts to compare with: two groups, and for larger matrices also four beside a shared tile. */
function layoutsFor(m: number, n: number): Layout[] {
  const sides = { nIn: n, nOut: m };
  const divided = (divides: "columns" | "rows", groups: number, shared: number) =>
    dividedLayout(sides, { divides, groups, shared });
  const two = divided(m > 1.5 * n ? "rows" : "columns", 2, 0);
  const four = [divided("columns", 4, 0.5), divided("rows", 4, 0.5)];
  return [wholeLayout(sides), two, ...(Math.min(m, n) >= 32 ? four : [])];
}

/** A weight whose columns have two kinds of rows, as where heads share a matrix, and noise. */
function grouped(seed: number, m: number, n: number): Values {
  const [near, noise] = [random(seed, m, n), random(seed + 1, m, n)];
  const parts = [0, 1].map((part) => times(random(seed + 2 + part, m, 3), random(seed + 4 + part, 3, n)));
  const values = near.values.map((value, i) => {
    const part = parts[i % n < n / 2 ? 0 : 1] as Values;
    return Math.fround(at(part.values, i) + 0.3 * value + 0.1 * at(noise.values, i));
  });
  return { values, rows: m, columns: n };
}

/** A covariance of neighbors that resemble each other. */
const neighbors = (n: number): Values => ({
  values: Float64Array.from({ length: n * n }, (_, i) => Math.fround(0.7 ** Math.abs(Math.floor(i / n) - (i % n)))),
  rows: n,
  columns: n,
});

const covariance = (name: string, n: number): Values =>
  (COVARIANCES[name] as (seed: number, n: number) => Values)(80, n);

/** The error of the search as a ratio to that of the best ranks of the layouts above. */
async function ratioToBest(weight: Values, sigma: Values, budget: number): Promise<number> {
  const { rows: m, columns: n } = weight;
  const allowed = Math.floor(budget * m * n);
  const found = await searched(weight, sigma, { allowed });
  const error = outputError(weight, (found as NonNullable<typeof found>).dense, sigma);
  const root = rootOf(sigma);
  const seen = times(weight, root);
  const size = normOf(seen);
  const scaled = { ...seen, values: seen.values.map((value) => value / size) };
  return error / bestError(scaled, root, layoutsFor(m, n), allowed);
}

const CASES = [
  [16, 16, 0.3],
  [16, 16, 0.6],
  [24, 16, 0.5],
  [26, 16, 0.4],
  [16, 24, 0.5],
  [16, 26, 0.7],
] as const;

forEachEngine("searchTiles", (_, { name: engine }) => {
  // The search is the same on all engines, and the comparison takes most of the time.
  if (engine !== "torch") return;

  test.each(CASES)(
    "is no worse than the best ranks of layouts with two groups, for (%i, %i) and budget %d",
    async (m, n, budget) => {
      for (const sigma of [covariance("the identity", n), neighbors(n)]) {
        for (const weight of [random(81, m, n), grouped(82, m, n), random(83, m, n)]) {
          expect(await ratioToBest(weight, sigma, budget)).toBeLessThan(1.02);
        }
      }
    },
  );

  test("is no worse than the best ranks also where a tile is shared by four groups, for (32, 32) and budget 0.25", async () => {
    for (const weight of [random(81, 32, 32), random(83, 32, 32)]) {
      expect(await ratioToBest(weight, neighbors(32), 0.25)).toBeLessThan(1.02);
    }
  });

  test.each(CASES)(
    "is not far from the best ranks where inputs are nearly dependent, for (%i, %i) and budget %d",
    async (m, n, budget) => {
      // The descent is slow there, and a matrix this small has few ranks to choose from.
      for (const weight of [random(81, m, n), grouped(82, m, n)]) {
        expect(await ratioToBest(weight, covariance("many mixed inputs", n), budget)).toBeLessThan(1.4);
      }
    },
  );
});
