// The block search in the metric of outputs: fits tiles in several layouts to a matrix, continues with the best layout,
// and turns it into blocks within the budget. The layout with the shared tile alone is the best low rank, with a larger
// rank than plain factors of the same cost have, so the result is never worse than low rank of the same cost.

import {
  abs,
  div,
  divNoNan,
  matMul,
  max,
  mul,
  norm,
  relu,
  slice,
  sqrt,
  square,
  sub,
  sum,
  type Tensor1D,
  type Tensor2D,
  tidy,
} from "@tensorflow/tfjs-core";
import { diagonalOf, expectFinite, svd } from "../../engine/linalg/index.ts";
import { expectOperand, expectSetting } from "../../engine/ops/operands.ts";
import { TileFit } from "./fit.ts";
import { dividedLayout, type Layout, LEAST_WINDOW, type QuantizedSides, wholeLayout, wholeRank } from "./layout.ts";
import { LAST_ROUNDS, LayoutSearch } from "./layout-search.ts";
import { OutputMetric } from "./metric.ts";
import { type Realized, realized } from "./realize.ts";

/** Options of `searchTiles`. */
export interface TileSearchOptions {
  /** multiply-adds per row */
  allowed: number;
  /** q: windows of blocks begin and end at multiples of q samples, or at the end of a side. Default 1 */
  quantum?: number | undefined;
  /**
   * R: blocks that share their windows, R at a time, are one block of rank R. Windows get shorter by multiples of R.
   * Default 1
   */
  blockRank?: number | undefined;
  /** whether blocks must not cancel each other, so that they can be trained; they are wider then. Default false */
  stable?: boolean | undefined;
  /** rounds over the tiles of a layout before layouts are compared. Default 3 */
  rounds?: number;
}

/** Progress of a search, or its result, which the caller disposes of. */
export type TileSearchEvent =
  | { type: "progress"; step: number; steps: number; error: number }
  | ({ type: "found" /** of the covariance, see `OutputMetric` */; damping: number } & Realized);

/**
 * Finds blocks that minimize ‖(T − W') Σ^½‖ within a budget.
 * @param target T, float32 (n_out, n_in), finite
 * @param covariance Σ, float32 (n_in, n_in)
 * @returns progress events; the last event is the result. It is missing if no layout gives well-conditioned blocks that
 *   are better than the best low rank of the same cost, which is then the better choice
 * @throws ShapeError when a matrix has another type or shape, or holds values that are not finite; EngineError when the
 *   covariance is not one
 */
export async function* searchTiles(
  target: Tensor2D,
  covariance: Tensor2D,
  options: TileSearchOptions,
): AsyncGenerator<TileSearchEvent, void> {
  const [nOut, nIn] = target.shape;
  expectOperand("searchTiles", { target }, { dtype: "float32", shape: ["n_out", "n_in"] });
  expectOperand("searchTiles", { covariance }, { dtype: "float32", shape: [nIn, nIn] });
  const { allowed, quantum = 1, blockRank = 1, stable = false, rounds = 3 } = options;
  expectSetting("searchTiles", { allowed }, "a number above 0", allowed > 0);
  expectSetting("searchTiles", { quantum }, "a whole number from 1", Number.isInteger(quantum) && quantum >= 1);
  expectSetting("searchTiles", { blockRank }, "a whole number from 1", Number.isInteger(blockRank) && blockRank >= 1);
  const sides = { nIn, nOut, quantum, blockRank, stable };
  const rank = wholeRank(sides, allowed);
  if (rank === 0 || Math.min(nIn, nOut) < LEAST_WINDOW) return;
  await expectFinite("searchTiles", { target, covariance });
  const metric = await OutputMetric.of(covariance);
  const { whitened, scale } = await whitenedTo1(target, metric);
  const fits: TileFit[] = [];
  try {
    if (!(scale > 0)) return;
    const { price, plainError } = await lowRankOf(whitened, { rank, plain: Math.floor(allowed / (nIn + nOut)) });
    const layouts = await layoutsFor(sides, target, covariance);
    const steps = layouts.length * rounds + LAST_ROUNDS;
    let step = 0;
    const ranked: Ranked[] = [];
    for (const layout of layouts) {
      const fit = new TileFit(layout, whitened, metric);
      fits.push(fit);
      const search = new LayoutSearch(fit, { allowed, price, rank });
      await search.start();
      for (let round = 1; round < rounds; round++) {
        await search.round();
        yield { type: "progress", step: ++step, steps, error: await fit.error() };
      }
      await search.settle();
      const error = await fit.error();
      ranked.push({ search, error });
      yield { type: "progress", step: ++step, steps, error };
    }
    // Low rank is finished too, and taken if the best of the other layouts does not become better in its last rounds.
    const [lowRank, ...divided] = ranked;
    const best = divided.toSorted((a, b) => a.error - b.error)[0];
    const finalists = [best, lowRank].flatMap((each) => (each ? [each.search] : []));
    const finished: { search: LayoutSearch; error: number }[] = [];
    for (const search of finalists) {
      for await (const error of search.finish()) yield { type: "progress", step: ++step, steps, error };
      finished.push({ search, error: await search.fit.error() });
    }
    finished.sort((a, b) => a.error - b.error);
    for (const { search } of finished) {
      const found = await realized(search.fit, { target, metric, scale, mostError: plainError });
      if (found === undefined) continue;
      yield { type: "found", ...found, damping: metric.damping };
      return;
    }
  } finally {
    for (const fit of fits) fit.dispose();
    whitened.dispose();
    metric.dispose();
  }
}

/** The matrix in the metric of outputs, scaled to norm 1, and its norm. @param target float32 (n_out, n_in) */
export async function whitenedTo1(
  target: Tensor2D,
  metric: OutputMetric,
): Promise<{ whitened: Tensor2D; scale: number }> {
  const { whitened, size } = tidy(() => {
    const seen = metric.whitened(target);
    // The norm itself squares entries, which can exceed float32.
    const most = max(abs(seen));
    const size = mul(most, norm(div(seen, most)));
    return { size, whitened: div(seen, size) as Tensor2D };
  });
  const [scale = 0] = await size.data();
  size.dispose();
  return { whitened, scale };
}

interface Ranked {
  search: LayoutSearch;
  error: number;
}

/**
 * The layouts that are tried, by the shape of the matrix: groups of columns for wide matrices, and groups of either side
 * for tall and nearly square ones. On weights of pretrained models, three groups were better than two, four or more.
 */
export async function layoutsFor(sides: QuantizedSides, target: Tensor2D, covariance: Tensor2D): Promise<Layout[]> {
  const lengths = await lengthsOf(target, covariance);
  const { nIn, nOut, quantum = 1 } = sides;
  const columns = (groups: number, shared: number) => ({ divides: "columns", groups, shared }) as const;
  const rows = (groups: number, shared: number) => ({ divides: "rows", groups, shared }) as const;
  const most = Math.floor(Math.min(nIn, nOut) / 8);
  const few = Math.min(3, most);
  const wide = [columns(few, 0), columns(4, 0), columns(few, 0.5)];
  const tall = [rows(few, 0.7), rows(4, 0.7), columns(few, 0.5)];
  const square = [columns(few, 0), columns(few, 0.3), columns(few, 0.5), rows(few, 0.7)];
  const chosen = nIn > 1.5 * nOut ? wide : nOut > 1.5 * nIn ? tall : square;
  const fitting = chosen.filter(({ divides, groups }) => {
    const chunks = Math.floor((divides === "columns" ? nIn : nOut) / quantum);
    return groups > 1 && groups <= Math.min(most, chunks);
  });
  return [
    wholeLayout(sides),
    ...fitting.map((each) => dividedLayout(sides, { ...each, weights: lengths[each.divides] })),
  ];
}

/** The square roots of the lengths of all rows and columns in the metric of outputs, without correlations of inputs. */
async function lengthsOf(target: Tensor2D, covariance: Tensor2D): Promise<Lengths> {
  const [rows, columns] = tidy(() => {
    const deviations = sqrt(relu(diagonalOf(covariance)));
    const seen = abs(mul(target, deviations));
    // The norm squares entries, which can be below the numbers of float32.
    const scaled = divNoNan(seen, max(seen));
    return [norm(scaled, 2, 1), norm(scaled, 2, 0)].map((each) => sqrt(each));
  }) as [Tensor1D, Tensor1D];
  const found = { rows: await rows.data(), columns: await columns.data() };
  rows.dispose();
  columns.dispose();
  return found;
}

interface Lengths {
  rows: ArrayLike<number>;
  columns: ArrayLike<number>;
}

/**
 * The squared error that a multiply-add takes away at the rank of the shared tile alone, and the error of the best low
 * rank with plain factors.
 */
export async function lowRankOf(whitened: Tensor2D, { rank, plain }: { rank: number; plain: number }) {
  const [m, n] = whitened.shape;
  const at = Math.min(rank + 1, m, n);
  // With a block rank, plain factors may have the larger rank.
  const { u, s, v } = await svd(whitened, { rank: Math.max(at, plain) });
  const values = await s.data();
  const squares = tidy(() => {
    const near = mul(slice(u, [0, 0], [m, plain]), slice(s, 0, plain)) as Tensor2D;
    const rest = plain === 0 ? whitened : sub(whitened, matMul(near, slice(v, [0, 0], [n, plain]), false, true));
    return sum(sum(square(rest), 1));
  });
  const [left = 0] = await squares.data();
  for (const tensor of [u, s, v, squares]) tensor.dispose();
  const price = (values[at - 1] as number) ** 2 / Math.max(1, m + n - 2 * rank);
  return { price, plainError: Math.sqrt(left) };
}
