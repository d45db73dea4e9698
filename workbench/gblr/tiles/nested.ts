// The block search for several sizes: one set of tiles whose first ranks, tile by tile, are the matrix at each size. The
// layout is chosen at the size in the middle. From the largest size to the smallest, ranks follow from the budgets and
// never rise. Then the factors are fitted to all sizes at once. docs/method.md derives it.

import { concat, matMul, mul, pad, slice, square, sub, sum, type Tensor2D, tidy } from "@tensorflow/tfjs-core";
import { expectFinite } from "../../engine/linalg/index.ts";
import { expectOperand, expectSetting } from "../../engine/ops/operands.ts";
import { TileFit } from "./fit.ts";
import { type Factors, jointlyFitted } from "./joint-fit.ts";
import { type Layout, LEAST_WINDOW, layoutCost, type Tile, wholeRank } from "./layout.ts";
import { LayoutSearch } from "./layout-search.ts";
import type { NestedLevel } from "./levels.ts";
import { OutputMetric } from "./metric.ts";
import { layoutsFor, lowRankOf, whitenedTo1 } from "./search.ts";

/** Options of `searchNested`. */
export interface NestedSearchOptions {
  /** multiply-adds per row at each size, the smallest first */
  allowed: readonly number[];
  /** rounds over the tiles of a layout for each size. Default 3 */
  rounds?: number;
  /** most evaluations of the error by the fit of all sizes. Default 60 */
  evaluations?: number;
}

/** The tiles of a matrix at several sizes. The caller disposes of the factors. */
export interface NestedTiles {
  layout: Layout;
  /** the ranks of all tiles at each size, the smallest first; none falls */
  ranks: readonly (readonly number[])[];
  /** A (a, p) and B (p, c) of each tile; undefined for a tile of rank 0 */
  factors: (Factors | undefined)[];
  /** ‖(T − W') Σ^½‖ / ‖T Σ^½‖ at each size */
  errors: readonly number[];
}

/** Progress of a search, or its result. */
export type NestedSearchEvent =
  | { type: "progress"; step: number; steps: number; error: number }
  | ({ type: "found" } & NestedTiles);

/** Sizes with a smaller error than this do not weigh more in the fit of all sizes. */
const LEAST_ERROR = 1e-3;
/** Rounds, and evaluations of the joint fit in each, for the ranks that a size adds. */
const GROWTH = { rounds: 2, evaluations: 10 };
/** Number of steps on the way between two sizes whose ranks are searched. */
const WAY = 1000;

/**
 * Finds nested tiles that minimize ‖(T − W') Σ^½‖ at all sizes.
 * @param target T, float32 (n_out, n_in), finite
 * @param covariance Σ, float32 (n_in, n_in)
 * @returns progress events; the last event is the result. It is missing if the matrix is zero, is too small for blocks, or
 *   the smallest budget does not pay for one
 * @throws ShapeError when a matrix has another type or shape, or holds values that are not finite; EngineError when the
 *   covariance is not one
 */
export async function* searchNested(
  target: Tensor2D,
  covariance: Tensor2D,
  { allowed, rounds = 3, evaluations = 60 }: NestedSearchOptions,
): AsyncGenerator<NestedSearchEvent, void> {
  const [nOut, nIn] = target.shape;
  expectOperand("searchNested", { target }, { dtype: "float32", shape: ["n_out", "n_in"] });
  expectOperand("searchNested", { covariance }, { dtype: "float32", shape: [nIn, nIn] });
  const isRising = allowed.length > 0 && allowed.every((cost, j) => cost >= (allowed[j - 1] ?? 1));
  expectSetting("searchNested", { allowed }, "budgets from 1 that do not fall", isRising);
  const sides = { nIn, nOut };
  if (wholeRank(sides, allowed[0] as number) === 0 || Math.min(nIn, nOut) < LEAST_WINDOW) return;
  await expectFinite("searchNested", { target, covariance });
  const metric = await OutputMetric.of(covariance);
  const { whitened, scale } = await whitenedTo1(target, metric);
  const fits: TileFit[] = [];
  const priceOf = async (cost: number) => {
    const rank = wholeRank(sides, cost);
    return { allowed: cost, rank, price: (await lowRankOf(whitened, { rank, plain: 0 })).price };
  };
  const searched = async (layout: Layout, options: ConstructorParameters<typeof LayoutSearch>[1]) => {
    const fit = new TileFit(layout, whitened, metric);
    fits.push(fit);
    const search = new LayoutSearch(fit, options);
    await search.start();
    for (let round = 1; round < rounds; round++) await search.round();
    await search.settle();
    return { ranks: [...fit.ranks], error: await fit.error() };
  };
  try {
    if (!(scale > 0)) return;
    const layouts = await layoutsFor(sides, target, covariance);
    const steps = layouts.length + anchorsOf(allowed).length + 1;
    let step = 0;
    const middle = await priceOf(allowed[allowed.length >> 1] as number);
    let best: { layout: Layout; error: number } | undefined;
    for (const layout of layouts) {
      const { error } = await searched(layout, middle);
      if (best === undefined || error < best.error) best = { layout, error };
      yield { type: "progress", step: ++step, steps, error };
    }
    const { layout } = best as { layout: Layout };
    const anchors: Anchor[] = [];
    for (const cost of anchorsOf(allowed)) {
      const [{ ranks: most } = {}] = anchors;
      const { ranks, error } = await searched(layout, { ...(await priceOf(cost)), ...(most && { most }) });
      anchors.unshift({ cost, ranks });
      yield { type: "progress", step: ++step, steps, error };
    }
    const fitted: Fitted = { layout, metric, whitened };
    const ranks = allowed.map((cost) => ranksBetween(layout, anchors, cost));
    const grown = await grownTiles(ranks, fitted);
    yield { type: "progress", step: ++step, steps, error: grown.errors.at(-1) as number };
    const factors = await fittedToAll(grown, fitted, { evaluations });
    const errors: number[] = [];
    for (const own of grown.ranks) errors.push(await errorAt(own, factors, fitted));
    const entries = await entriesOf(factors, { layout, metric, scale });
    yield { type: "found", layout, ranks: grown.ranks, factors: entries, errors };
  } finally {
    for (const fit of fits) fit.dispose();
    whitened.dispose();
    metric.dispose();
  }
}

/** A size whose ranks are searched. */
interface Anchor {
  cost: number;
  ranks: number[];
}

/** The costs of the sizes whose ranks are searched, the largest first: both ends of the range and its middle. */
const anchorsOf = (allowed: readonly number[]): number[] => [
  ...new Set([allowed.at(-1), allowed[allowed.length >> 1], allowed[0]] as number[]),
];

/** The largest ranks within a cost on the straight way between two anchors. */
function ranksBetween(layout: Layout, anchors: readonly Anchor[], cost: number): number[] {
  const above = anchors.findIndex((anchor) => anchor.cost >= cost);
  const high = anchors[above] as Anchor;
  const low = anchors[above - 1] ?? { cost: 0, ranks: high.ranks.map(() => 0) };
  if (high.cost === cost) return high.ranks;
  const at = (share: number) =>
    low.ranks.map((rank, t) => rank + Math.floor(share * ((high.ranks[t] as number) - rank)));
  let step = WAY;
  while (step > 0 && layoutCost(layout, at(step / WAY)) > cost) step--;
  return at(step / WAY);
}

/** What is fitted, in the metric of outputs. */
interface Fitted {
  layout: Layout;
  metric: OutputMetric;
  /** T, (n_out, n_in), scaled to norm 1 */
  whitened: Tensor2D;
}

/** Tiles whose ranks are in the order of sizes. */
interface Grown {
  ranks: number[][];
  factors: (Factors | undefined)[];
  /** at each size */
  errors: number[];
}

/** Adds the ranks of one size after the other: each is fitted to what the ranks of smaller sizes leave. */
async function grownTiles(ranks: readonly (readonly number[])[], { layout, metric, whitened }: Fitted): Promise<Grown> {
  let rest = whitened.clone();
  let factors: (Factors | undefined)[] = layout.tiles.map(() => undefined);
  const grown: Grown = { ranks: [], factors: [], errors: [] };
  for (const wanted of ranks) {
    const added = wanted.map((rank, tile) => rank - (factors[tile]?.left.shape[1] ?? 0));
    const fit = new TileFit(layout, rest, metric);
    for (let round = 0; round < GROWTH.rounds; round++) {
      for (const [tile, rank] of added.entries()) {
        if (rank > 0) await fit.update(tile, { least: rank, most: rank, price: 0 });
      }
      if (layout.tiles.length === 1) break;
      await fit.updateTogether(GROWTH.evaluations);
    }
    factors = (await fit.sorted()).map((own, tile) => joined(factors[tile], own));
    rest.dispose();
    rest = fit.rest();
    grown.errors.push(await fit.error());
    // What is left may have a smaller rank.
    grown.ranks.push(factors.map((own) => own?.left.shape[1] ?? 0));
    fit.dispose();
  }
  rest.dispose();
  return { ...grown, factors };
}

/** The ranks of two tiles at the same place, one after the other. Disposes of both. */
function joined(first: Factors | undefined, second: Factors | undefined): Factors | undefined {
  if (!first || !second) return first ?? second;
  const left = concat([first.left, second.left], 1);
  const right = concat([first.right, second.right], 0);
  for (const own of [first, second]) disposeOf(own);
  return { left, right };
}

/** Fits the factors to all sizes at once. Disposes of the given ones. */
async function fittedToAll(
  { ranks, factors, errors }: Grown,
  { layout, metric, whitened }: Fitted,
  { evaluations }: { evaluations: number },
): Promise<(Factors | undefined)[]> {
  // The first ranks of a single tile are the best ones of their number already.
  if (layout.tiles.length === 1 || evaluations === 0) return factors;
  const weights = errors.map((error) => 1 / Math.max(error, LEAST_ERROR) ** 2);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const levels = ranks.map((own, j): NestedLevel => ({ ranks: own, weight: (weights[j] as number) / total }));
  const found = await jointlyFitted({ target: whitened, layout, metric, levels }, factors, { evaluations });
  for (const own of factors) disposeOf(own);
  return found;
}

/** ‖T − W'‖ in the metric of outputs with the first ranks of each tile. */
async function errorAt(
  ranks: readonly number[],
  factors: readonly (Factors | undefined)[],
  { layout, metric, whitened }: Fitted,
): Promise<number> {
  let rest = whitened.clone();
  for (const [t, own] of factors.entries()) {
    const rank = ranks[t] as number;
    if (!own || rank === 0) continue;
    const { rows, columns } = layout.tiles[t] as Tile;
    const across = await metric.fromCoordinates(own.right, columns);
    const next = tidy(() => {
      const image = matMul(slice(own.left, [0, 0], [-1, rank]), slice(across, [0, 0], [rank, -1])) as Tensor2D;
      return sub(
        rest,
        pad(image, [
          [rows.start, rest.shape[0] - rows.end],
          [0, 0],
        ]),
      ) as Tensor2D;
    });
    for (const tensor of [across, rest]) tensor.dispose();
    rest = next;
  }
  const squares = tidy(() => sum(sum(square(rest), 1)));
  const [value = 0] = await squares.data();
  for (const tensor of [rest, squares]) tensor.dispose();
  return Math.sqrt(value);
}

/** The factors with entries of B instead of coordinates, which are disposed of. */
async function entriesOf(
  factors: readonly (Factors | undefined)[],
  { layout, metric, scale }: Pick<Fitted, "layout" | "metric"> & { scale: number },
): Promise<(Factors | undefined)[]> {
  const found: (Factors | undefined)[] = [];
  for (const [t, own] of factors.entries()) {
    if (!own) {
      found.push(undefined);
      continue;
    }
    const entries = await metric.entries(own.right, (layout.tiles[t] as Tile).columns);
    found.push({ left: own.left, right: mul(entries, scale) });
    for (const tensor of [entries, own.right]) tensor.dispose();
  }
  return found;
}

function disposeOf(factors: Factors | undefined): void {
  factors?.left.dispose();
  factors?.right.dispose();
}
