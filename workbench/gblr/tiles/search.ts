// The block search in the metric of outputs: fits tiles in several layouts to a matrix, goes on with the best layout,
// and turns it into blocks within the budget. The layout with the shared tile alone is the best low rank, with a larger
// rank than its plain factors could pay for, so the result is never worse than low rank of the same cost.

import {
  abs,
  div,
  matMul,
  max,
  mul,
  norm,
  reshape,
  slice,
  square,
  sub,
  sum,
  type Tensor2D,
  tensor2d,
  tidy,
} from "@tensorflow/tfjs-core";
import { Matrix } from "ml-matrix";
import { expectFinite, svd } from "../../engine/linalg/index.ts";
import { expectOperand, expectSetting } from "../../engine/ops/operands.ts";
import type { Sides } from "../init/rules.ts";
import type { GblrParameters } from "../matrix.ts";
import { type Block, blocksOf } from "./elimination.ts";
import { TileFit } from "./fit.ts";
import {
  dividedLayout,
  equalRanks,
  type Layout,
  LEAST_WINDOW,
  type QuantizedSides,
  wholeLayout,
  wholeRank,
} from "./layout.ts";
import { lengthOf, OutputMetric } from "./metric.ts";
import { summariesOf, type TileSummary } from "./summary.ts";

/** Options of `searchTiles`. */
export interface TileSearchOptions {
  /** multiply-adds per row */
  allowed: number;
  /** q: windows of blocks begin and end at multiples of q samples, or at the end of a side. Default 1 */
  quantum?: number | undefined;
  /** rounds over the tiles of a layout before layouts are compared. Default 10 */
  trial?: number;
  /** further rounds for the best layout. Default 10 */
  rounds?: number;
}

/** Progress of a search, or its result, which the caller disposes of. */
export type TileSearchEvent =
  | { type: "progress"; step: number; steps: number; error: number }
  | {
      type: "found";
      parameters: GblrParameters;
      error: number;
      cost: number;
      damping: number;
      tiles: readonly TileSummary[];
    };

/** Most rounds with fixed ranks at the end. They end before where one lowers the error by less than `LEAST_GAIN`. */
const LAST_ROUNDS = 20;
const LEAST_GAIN = 5e-4;
/** Ranks change in a round by at most this share of the smaller side. */
const STEP = 1 / 48;
/** The price of a multiply-add changes in a round at most by this factor. */
const MOST_CHANGE = 2;

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
  const { allowed, quantum = 1, trial = 10, rounds = 10 } = options;
  expectSetting("searchTiles", { allowed }, "a number above 0", allowed > 0);
  expectSetting("searchTiles", { quantum }, "a whole number from 1", Number.isInteger(quantum) && quantum >= 1);
  const sides = { nIn, nOut, quantum };
  const rank = wholeRank(sides, allowed);
  if (rank === 0 || Math.min(nIn, nOut) < LEAST_WINDOW) return;
  await expectFinite("searchTiles", { target, covariance });
  const metric = await OutputMetric.of(covariance);
  const { whitened, size } = tidy(() => {
    const seen = metric.whitened(target);
    // The norm itself squares entries, which can exceed float32.
    const most = max(abs(seen));
    const size = mul(most, norm(div(seen, most)));
    return { size, whitened: div(seen, size) as Tensor2D };
  });
  const fits: TileFit[] = [];
  try {
    const [scale = 0] = await size.data();
    if (!(scale > 0)) return;
    const { price, plainError } = await lowRankOf(whitened, { rank, plain: Math.floor(allowed / (nIn + nOut)) });
    const layouts = layoutsOf(sides);
    const steps = layouts.length * trial + rounds + LAST_ROUNDS;
    let step = 0;
    const ranked: Ranked[] = [];
    for (const layout of layouts) {
      const fit = new TileFit(layout, whitened, metric);
      fits.push(fit);
      const search = new LayoutSearch(fit, { allowed, price, rank });
      await search.start();
      for (let round = 1; round < trial; round++) {
        await search.round();
        yield { type: "progress", step: ++step, steps, error: await fit.error() };
      }
      await search.settle();
      const error = await fit.error();
      ranked.push({ search, error });
      yield { type: "progress", step: ++step, steps, error };
    }
    // The first layout, low rank, comes before the others where finishing them does not make them better.
    const [lowRank, ...divided] = ranked;
    const best = divided.toSorted((a, b) => a.error - b.error)[0];
    const finalists = [best, lowRank].flatMap((each) => (each ? [each.search] : []));
    if (best && lowRank && best.error < lowRank.error) {
      for (let round = 0; round < rounds; round++) {
        await best.search.round();
        yield { type: "progress", step: ++step, steps, error: await best.search.fit.error() };
      }
    }
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
    for (const tensor of [whitened, size]) tensor.dispose();
    metric.dispose();
  }
}

interface Ranked {
  search: LayoutSearch;
  error: number;
}

/** The layouts that are tried, by the shape of the matrix: the longer side is divided more. */
function layoutsOf(sides: QuantizedSides): Layout[] {
  const { nIn, nOut, quantum = 1 } = sides;
  const columns = (groups: number, shared: number) => ({ divides: "columns", groups, shared }) as const;
  const rows = (groups: number, shared: number) => ({ divides: "rows", groups, shared }) as const;
  const most = Math.floor(Math.min(nIn, nOut) / 8);
  const wide = [columns(2, 0), columns(4, 0), columns(4, 0.5)];
  const tall = [rows(2, 0), rows(4, 0.5), columns(4, 0.5)];
  const square = [columns(2, 0), columns(4, 0.5), rows(4, 0.5)];
  const chosen = nIn > 1.5 * nOut ? wide : nOut > 1.5 * nIn ? tall : square;
  const fitting = chosen.filter(({ divides, groups }) => {
    const chunks = Math.floor((divides === "columns" ? nIn : nOut) / quantum);
    return groups <= Math.min(most, chunks);
  });
  return [wholeLayout(sides), ...fitting.map((each) => dividedLayout(sides, each))];
}

/**
 * The squared error that a multiply-add takes away at the rank of the shared tile alone, and the error of the best low
 * rank with plain factors.
 */
async function lowRankOf(whitened: Tensor2D, { rank, plain }: { rank: number; plain: number }) {
  const [m, n] = whitened.shape;
  const at = Math.min(rank + 1, m, n);
  const { u, s, v } = await svd(whitened, { rank: at });
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

/** The fit of one layout, and its price for a multiply-add, which is adapted until the cost meets the budget. */
class LayoutSearch {
  readonly fit: TileFit;
  private readonly allowed: number;
  private readonly rank: number;
  private price: number;

  constructor(fit: TileFit, { allowed, price, rank }: { allowed: number; price: number; rank: number }) {
    this.fit = fit;
    this.allowed = allowed;
    this.price = price;
    this.rank = rank;
  }

  /** Fits all tiles with their initial ranks: the shared tile with its share, the groups with equal ranks. */
  async start(): Promise<void> {
    const { layout } = this.fit;
    const isWhole = layout.tiles.length === 1;
    const shared = isWhole ? this.rank : Math.floor(layout.shared * this.rank);
    const ranks = isWhole ? [shared] : equalRanks(layout, shared, this.allowed);
    await this.pass((tile) => ({ least: ranks[tile] as number, most: ranks[tile] as number }));
  }

  /** Updates all tiles, with ranks that may change by a step, and adapts the price. */
  async round(): Promise<void> {
    const { fit } = this;
    if (fit.layout.tiles.length === 1) return;
    const [first] = fit.layout.tiles;
    const sides = first ? [first.rows.end, first.columns.end] : [];
    const step = Math.max(2, Math.ceil(Math.min(...sides) * STEP));
    await this.pass((tile) => {
      if (fit.layout.shared === 0) return { least: 0, most: Number.POSITIVE_INFINITY };
      const rank = fit.ranks[tile] as number;
      return { least: Math.max(0, rank - step), most: rank + step };
    });
    const change = (fit.cost / this.allowed) ** 2;
    this.price *= Math.min(MOST_CHANGE, Math.max(1 / MOST_CHANGE, change));
  }

  /** Brings the cost within the budget, and fits all tiles with the ranks that follow. */
  async settle(): Promise<void> {
    const { fit } = this;
    if (fit.layout.tiles.length === 1) return;
    fit.settle(this.allowed);
    const ranks = [...fit.ranks];
    await this.pass((tile) => ({ least: ranks[tile] as number, most: ranks[tile] as number }));
  }

  /**
   * Brings the cost within the budget, and fits all tiles with the ranks that follow, until their error hardly falls.
   * @returns the error after each round
   */
  async *finish(): AsyncGenerator<number, void> {
    if (this.fit.layout.tiles.length === 1) return;
    let before = Number.POSITIVE_INFINITY;
    for (let round = 0; round < LAST_ROUNDS; round++) {
      await this.settle();
      const error = await this.fit.error();
      yield error;
      if (!(error < (1 - LEAST_GAIN) * before)) return;
      before = error;
    }
  }

  private async pass(choice: (tile: number) => { least: number; most: number }): Promise<void> {
    const { fit } = this;
    for (const tile of fit.layout.tiles.keys()) {
      if (tile === 0 && fit.layout.shared === 0) continue;
      await fit.update(tile, { ...choice(tile), price: this.price });
    }
  }
}

interface RealizeOptions {
  target: Tensor2D;
  metric: OutputMetric;
  /** norm of the whitened target */
  scale: number;
  /** largest error of use */
  mostError: number;
}

/** Largest ratio of the error of the blocks in float32 to the error of the tiles. */
const MOST_LOSS = 1.001;
/** Rounding of errors in float32. */
const ROUNDING = 1e-6;

/** The blocks of a fit with their error; undefined if they cannot be computed precisely enough to be of use. */
async function realized(fit: TileFit, { target, metric, scale, mostError }: RealizeOptions) {
  const factors = await Promise.all(
    (await fit.entries()).map(async (own) => {
      if (!own) return undefined;
      const found = { left: await hostMatrix(own.left), right: await hostMatrix(own.right) };
      own.left.dispose();
      own.right.dispose();
      return found;
    }),
  );
  const blocks = blocksOf(fit.layout, factors);
  if (blocks === undefined) return undefined;
  const [nOut, nIn] = target.shape;
  const parameters = parametersOf(blocks, { nIn, nOut });
  const squares = tidy(() => {
    const rows = reshape(parameters.lr_weight1, [blocks.length, nIn]) as Tensor2D;
    const columns = reshape(parameters.lr_weight2, [blocks.length, nOut]) as Tensor2D;
    const left = mul(metric.whitened(sub(target, mul(matMul(columns, rows, true), scale))), 1 / scale);
    return sum(sum(square(left), 1));
  });
  const [value = 0] = await squares.data();
  squares.dispose();
  const error = Math.sqrt(value);
  if (!(error <= Math.min(MOST_LOSS * (await fit.error()), mostError) + ROUNDING)) {
    for (const tensor of Object.values(parameters)) tensor.dispose();
    return undefined;
  }
  const root = Math.sqrt(scale);
  const scaled = tidy(() => ({
    ...parameters,
    lr_weight1: mul(parameters.lr_weight1, root),
    lr_weight2: mul(parameters.lr_weight2, root),
  }));
  parameters.lr_weight1.dispose();
  parameters.lr_weight2.dispose();
  const cost = blocks.reduce((total, { rows, columns }) => total + lengthOf(rows) + lengthOf(columns), 0);
  return { parameters: scaled, error, cost, tiles: await summariesOf(fit, blocks) };
}

async function hostMatrix(tensor: Tensor2D): Promise<Matrix> {
  const [rows, columns] = tensor.shape;
  const values = Float64Array.from(await tensor.data());
  return Matrix.from1DArray(rows, columns, values);
}

/** The blocks as parameters of a GBLR matrix; values outside the windows are zero. */
function parametersOf(blocks: readonly Block[], { nIn, nOut }: Sides): GblrParameters {
  const count = blocks.length;
  const [inputs, outputs] = [new Float32Array(count * nIn), new Float32Array(count * nOut)];
  const [widths, locations] = [new Float32Array(2 * count), new Float32Array(2 * count)];
  blocks.forEach(({ rows, columns, left, right }, k) => {
    inputs.set(right, k * nIn + columns.start);
    outputs.set(left, k * nOut + rows.start);
    widths[k] = (columns.end - columns.start) / nIn;
    widths[count + k] = (rows.end - rows.start) / nOut;
    locations[k] = columns.start / nIn;
    locations[count + k] = rows.start / nOut;
  });
  return tidy(() => ({
    lr_weight1: reshape(tensor2d(inputs, [count, nIn]), [count, 1, nIn]),
    lr_weight2: reshape(tensor2d(outputs, [count, nOut]), [count, nOut, 1]),
    widths: tensor2d(widths, [2, count]),
    locations: tensor2d(locations, [2, count]),
  }));
}
