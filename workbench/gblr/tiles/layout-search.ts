// The fit of the tiles of one layout within a budget, in rounds over all tiles. Ranks follow from a price for a
// multiply-add, which is adapted until the cost meets the budget.

import type { TileFit } from "./fit.ts";
import { ceilTo, equalRanks, floorTo, type Tile, tilesInUse } from "./layout.ts";

/** Most rounds with fixed ranks at the end. They stop early when one lowers the error by less than `LEAST_GAIN`. */
export const LAST_ROUNDS = 12;
const LEAST_GAIN = 1e-3;
/** Evaluations of the error by the joint fit of a round, while ranks change, and at the end. */
const EVALUATIONS = { while: 6, last: 20 };
/** Ranks change in a round by at most this share of the smaller side. */
const STEP = 1 / 48;
/** The price of a multiply-add changes in a round at most by this factor. */
const MOST_CHANGE = 2;

/** The fit of one layout, and its price for a multiply-add. The fit still belongs to the caller. */
export class LayoutSearch {
  readonly fit: TileFit;
  private readonly allowed: number;
  /** rank of the layout with the shared tile alone */
  private readonly rank: number;
  /** largest rank of each tile; none by default */
  private readonly most: readonly number[];
  private price: number;

  constructor(
    fit: TileFit,
    { allowed, price, rank, most = [] }: { allowed: number; price: number; rank: number; most?: readonly number[] },
  ) {
    this.fit = fit;
    this.most = most;
    this.allowed = allowed;
    this.price = price;
    this.rank = rank;
  }

  /** Fits all tiles with their initial ranks: the shared tile with its share, the groups with equal ranks. */
  async start(): Promise<void> {
    const { layout } = this.fit;
    const ranks = equalRanks(layout, floorTo(layout.shared * this.rank, layout.blockRank), this.allowed);
    await this.fitWith(ranks.map((rank, tile) => Math.min(rank, this.most[tile] ?? rank)));
  }

  /** Updates all tiles, with ranks that may change by a step, and adapts the price. */
  async round(): Promise<void> {
    const { fit } = this;
    if (fit.layout.tiles.length === 1) return;
    const { rows, columns } = fit.layout.tiles[0] as Tile;
    const step = ceilTo(Math.max(2, Math.min(rows.end, columns.end) * STEP), fit.layout.blockRank);
    await this.pass((tile) => {
      const most = this.most[tile] ?? Number.POSITIVE_INFINITY;
      if (fit.layout.shared === 0) return { least: 0, most };
      const rank = fit.ranks[tile] as number;
      return { least: Math.max(0, rank - step), most: Math.min(most, rank + step) };
    });
    await fit.updateTogether(EVALUATIONS.while);
    const change = (fit.cost / this.allowed) ** 2;
    this.price *= Math.min(MOST_CHANGE, Math.max(1 / MOST_CHANGE, change));
  }

  /** Brings the cost within the budget, and fits all tiles with the ranks that follow. */
  async settle(evaluations: number = EVALUATIONS.while): Promise<void> {
    const { fit } = this;
    if (fit.layout.tiles.length === 1) return;
    fit.settle(this.allowed, this.most);
    await this.fitWith([...fit.ranks]);
    await fit.updateTogether(evaluations);
  }

  /**
   * Brings the cost within the budget, and fits all tiles with the ranks that follow, until their error hardly falls.
   * @returns the error after each round
   */
  async *finish(): AsyncGenerator<number, void> {
    if (this.fit.layout.tiles.length === 1) return;
    let before = Number.POSITIVE_INFINITY;
    for (let round = 0; round < LAST_ROUNDS; round++) {
      await this.settle(EVALUATIONS.last);
      const error = await this.fit.error();
      yield error;
      if (!(error < (1 - LEAST_GAIN) * before)) return;
      before = error;
    }
  }

  private fitWith(ranks: readonly number[]): Promise<void> {
    return this.pass((tile) => ({ least: ranks[tile] as number, most: ranks[tile] as number }));
  }

  private async pass(choice: (tile: number) => { least: number; most: number }): Promise<void> {
    const { fit } = this;
    for (const tile of tilesInUse(fit.layout)) await fit.update(tile, { ...choice(tile), price: this.price });
  }
}
