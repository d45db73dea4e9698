// Fits the tiles of a layout to a matrix in the metric of outputs, one tile after the other, or all at once
// (joint-fit.ts). With the other tiles fixed, the best tile of a given rank is a truncated singular value decomposition
// of what they leave, so no update raises the error. Ranks follow from a price for a multiply-add: a tile gets the rank with the smallest sum of squared
// error and cost.

import {
  add,
  concat,
  matMul,
  mul,
  slice,
  square,
  sub,
  sum,
  type Tensor,
  type Tensor2D,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { svd } from "../../engine/linalg/index.ts";
import { type Factors, jointlyFitted } from "./joint-fit.ts";
import { floorTo, type Layout, layoutCost, mostRank, type Tile, tilesInUse } from "./layout.ts";
import { lengthOf, type OutputMetric } from "./metric.ts";

/** The ranks that an update may choose from, and the price of a multiply-add in squared error. */
export interface RankChoice {
  least: number;
  most: number;
  price: number;
}

/** Error that is rounding of float32, so that nothing is left to fit. */
const ROUNDING = 1e-5;
/** Squared singular values that are rounding of a matrix of norm 1. Ranks for them would be noise. */
const LEAST_ENERGY = 1e-14;

/** A matrix that is being fitted by tiles. Must be disposed of. */
export class TileFit {
  readonly layout: Layout;
  /** of each tile */
  readonly ranks: number[];
  private readonly metric: OutputMetric;
  /** the whitened matrix, (n_out, n_in) */
  private readonly target: Tensor2D;
  /** the whitened matrix less all tiles, (n_out, n_in) */
  private residual: Tensor2D;
  private readonly factors: (Factors | undefined)[];
  /** squared singular values of each tile's last update, at least as many as its rank. A joint fit does not change them */
  private readonly energies: Float64Array[];

  /** @param target the whitened matrix, (n_out, n_in), scaled to norm 1; it still belongs to the caller */
  constructor(layout: Layout, target: Tensor2D, metric: OutputMetric) {
    this.layout = layout;
    this.metric = metric;
    this.target = target.clone();
    this.residual = target.clone();
    this.ranks = layout.tiles.map(() => 0);
    this.factors = layout.tiles.map(() => undefined);
    this.energies = layout.tiles.map(() => new Float64Array(0));
  }

  /** Multiply-adds per row. */
  get cost(): number {
    return layoutCost(this.layout, this.ranks);
  }

  /** ‖T − W'‖ in the metric of outputs, as a share of ‖T‖. */
  async error(): Promise<number> {
    const squares = tidy(() => sum(sum(square(this.residual), 1)));
    const [value = 0] = await squares.data();
    squares.dispose();
    return Math.sqrt(value);
  }

  /** Replaces a tile by the best one that the choice allows. */
  async update(tile: number, choice: RankChoice): Promise<void> {
    const { columns } = this.layout.tiles[tile] as Tile;
    const limit = mostRank(this.layout, tile, this.ranks);
    const [low, high] = [Math.min(choice.least, limit), Math.min(choice.most, limit)];
    const own = await this.withoutTile(tile);
    if (high === 0) {
      this.replace(tile, own, undefined, []);
      return;
    }
    const seen = await this.metric.coordinates(own, columns);
    const { u, s, v } = await svd(seen, { rank: Math.min(high, ...seen.shape) });
    const energies = Float64Array.from(await s.data(), (value) => value * value);
    const real = energies.findLastIndex((energy) => energy > LEAST_ENERGY) + 1;
    const whole = floorTo(real, this.layout.blockRank);
    const [least, most] = [Math.min(low, whole), Math.min(high, whole)];
    const rank = this.cheapest(tile, energies, { least, most, price: choice.price });
    const found =
      rank === 0
        ? undefined
        : tidy(() => {
            const [m, c] = seen.shape;
            const near = slice(u, [0, 0], [m, rank]);
            return { left: near, right: transpose(mul(slice(v, [0, 0], [c, rank]), slice(s, 0, rank))) as Tensor2D };
          });
    for (const tensor of [seen, u, s, v]) tensor.dispose();
    this.ranks[tile] = rank;
    const image = found && (await this.imageOf(tile, found));
    this.replace(tile, image ? take(own, image) : own, found, energies);
    image?.dispose();
  }

  /** Updates all tiles at once, with the ranks they have. The error does not rise. */
  async updateTogether(evaluations: number): Promise<void> {
    const { layout, metric, target } = this;
    const before = await this.error();
    if (before < ROUNDING) return;
    const found = await jointlyFitted({ layout, metric, target }, this.factors, { evaluations });
    const [old, residual] = [[...this.factors], this.residual];
    this.residual = target.clone();
    for (const [tile, factors] of found.entries()) {
      this.factors[tile] = undefined;
      if (!factors) continue;
      const { rows } = layout.tiles[tile] as Tile;
      const own = slice(this.residual, [rows.start, 0], [lengthOf(rows), metric.nIn]);
      const image = await this.imageOf(tile, factors);
      this.replace(tile, take(own, image), factors, this.energies[tile] as Float64Array);
      image.dispose();
    }
    const isBetter = (await this.error()) < before;
    for (const factors of isBetter ? old : this.factors) disposeOf(factors);
    (isBetter ? residual : this.residual).dispose();
    if (isBetter) return;
    this.residual = residual;
    for (const [tile, factors] of old.entries()) this.factors[tile] = factors;
  }

  /**
   * Raises and lowers ranks, by the block rank, until they cost at most `allowed` and no further rank is affordable.
   * @param most largest rank of each tile. Default: as large as the tile allows
   */
  settle(allowed: number, most: readonly number[] = []): void {
    const { layout, ranks } = this;
    const open = tilesInUse(layout);
    const changed = (tile: number, by: number) => ranks.map((rank, i) => (i === tile ? rank + by : rank));
    const step = layout.blockRank;
    const worth = (tile: number, by: number) => {
      const [from, to] = [ranks[tile] as number, (ranks[tile] as number) + by].toSorted((a, b) => a - b);
      const gain = (this.energies[tile] ?? new Float64Array()).slice(from, to).reduce((sum, energy) => sum + energy, 0);
      return gain / Math.abs(layoutCost(layout, changed(tile, by)) - layoutCost(layout, ranks));
    };
    while (layoutCost(layout, ranks) > allowed) {
      const least = lowestBy(
        open.filter((tile) => (ranks[tile] as number) > 0),
        (tile) => worth(tile, -step),
      );
      if (least === undefined) break;
      ranks[least] = (ranks[least] as number) - step;
    }
    for (;;) {
      const affordable = open.filter(
        (tile) =>
          (ranks[tile] as number) < Math.min(mostRank(layout, tile, ranks), most[tile] ?? Number.POSITIVE_INFINITY) &&
          layoutCost(layout, changed(tile, step)) <= allowed,
      );
      const best = lowestBy(affordable, (tile) => -worth(tile, step));
      if (best === undefined) return;
      ranks[best] = (ranks[best] as number) + step;
    }
  }

  /** The whitened matrix less all tiles. The caller disposes of it. */
  rest(): Tensor2D {
    return this.residual.clone();
  }

  /** The factors of each tile, its ranks in the order of their singular values. The caller disposes of them. */
  async sorted(): Promise<(Factors | undefined)[]> {
    const found: (Factors | undefined)[] = [];
    for (const own of this.factors) {
      if (!own) {
        found.push(undefined);
        continue;
      }
      const whole = matMul(own.left, own.right) as Tensor2D;
      const { u, s, v } = await svd(whole, { rank: own.left.shape[1] });
      found.push({ left: u, right: tidy(() => transpose(mul(v, s)) as Tensor2D) });
      for (const tensor of [whole, s, v]) tensor.dispose();
    }
    return found;
  }

  /** A (a, p) and the entries of B (p, c) of each tile; undefined for a tile of rank 0. The caller disposes of them. */
  async entries(): Promise<(Factors | undefined)[]> {
    const found: (Factors | undefined)[] = [];
    for (const [tile, factors] of this.factors.entries()) {
      const { columns } = this.layout.tiles[tile] as Tile;
      found.push(factors && { left: factors.left.clone(), right: await this.metric.entries(factors.right, columns) });
    }
    return found;
  }

  /** By how much the squared error, as a share of ‖T‖², would be larger without a tile; 0 for a tile of rank 0. */
  async worthOf(tile: number): Promise<number> {
    const { rows } = this.layout.tiles[tile] as Tile;
    const factors = this.factors[tile];
    if (!factors) return 0;
    const image = await this.imageOf(tile, factors);
    // ‖R + X‖² − ‖R‖² = ⟨X, X + 2 R⟩ loses fewer digits than the difference of the squares.
    const growth = tidy(() => {
      const left = slice(this.residual, [rows.start, 0], [lengthOf(rows), this.metric.nIn]);
      return sum(sum(mul(image, add(image, mul(left, 2))), 1));
    });
    const [value = 0] = await growth.data();
    image.dispose();
    growth.dispose();
    return value;
  }

  dispose(): void {
    this.target.dispose();
    this.residual.dispose();
    for (const factors of this.factors) disposeOf(factors);
  }

  /** The rank with the smallest sum of squared error and price. */
  private cheapest(tile: number, energies: Float64Array, { least, most, price }: RankChoice): number {
    const { layout, ranks } = this;
    const costAt = (rank: number) =>
      layoutCost(
        layout,
        ranks.map((own, i) => (i === tile ? rank : own)),
      );
    let left = 0;
    let best = { rank: least, value: Number.POSITIVE_INFINITY };
    for (let rank = 0; rank <= Math.min(most, energies.length); rank++) {
      if (rank > 0) left -= energies[rank - 1] as number;
      if (rank < least || rank % layout.blockRank !== 0) continue;
      const value = left + price * costAt(rank);
      if (value < best.value) best = { rank, value };
    }
    return best.rank;
  }

  /** The rows of the residual with this tile's part put back, (a, n_in). */
  private async withoutTile(tile: number): Promise<Tensor2D> {
    const { rows } = this.layout.tiles[tile] as Tile;
    const own = slice(this.residual, [rows.start, 0], [lengthOf(rows), this.metric.nIn]);
    const factors = this.factors[tile];
    if (!factors) return own;
    const image = await this.imageOf(tile, factors);
    const whole = add(own, image) as Tensor2D;
    own.dispose();
    image.dispose();
    return whole;
  }

  /** A tile after the product with L, (a, n_in). */
  private async imageOf(tile: number, { left, right }: Factors): Promise<Tensor2D> {
    const { columns } = this.layout.tiles[tile] as Tile;
    const across = await this.metric.fromCoordinates(right, columns);
    const image = matMul(left, across) as Tensor2D;
    across.dispose();
    return image;
  }

  /** Stores a tile, and the rows of the residual that remain. @param rows (a, n_in); this function disposes of it */
  private replace(tile: number, rows: Tensor2D, factors: Factors | undefined, energies: ArrayLike<number>): void {
    const { start, end } = (this.layout.tiles[tile] as Tile).rows;
    const [m, n] = this.residual.shape;
    const parts = [slice(this.residual, [0, 0], [start, n]), rows, slice(this.residual, [end, 0], [m - end, n])];
    const residual = concat(
      parts.filter((part) => part.shape[0] > 0),
      0,
    );
    for (const part of [this.residual, ...parts]) part.dispose();
    this.residual = residual;
    disposeOf(this.factors[tile]);
    this.factors[tile] = factors;
    this.energies[tile] = Float64Array.from(energies);
    if (!factors) this.ranks[tile] = 0;
  }
}

/** a − b. This function disposes of a. */
function take(a: Tensor2D, b: Tensor2D): Tensor2D {
  const difference = sub(a, b) as Tensor2D;
  a.dispose();
  return difference;
}

function disposeOf(factors: Factors | undefined): void {
  for (const tensor of Object.values(factors ?? {}) as Tensor[]) tensor.dispose();
}

function lowestBy(items: readonly number[], of: (item: number) => number): number | undefined {
  let best: { item: number; value: number } | undefined;
  for (const item of items) {
    const value = of(item);
    if (best === undefined || value < best.value) best = { item, value };
  }
  return best?.item;
}
