// A lane of a stream: an endless sequence of items, such as windows of tokens or images, from its row groups. It passes over
// them again and again, each time in another order, and shuffles items in blocks, which end with the pass. Each row is in
// one place of each pass. The state of a lane is small, and a lane that starts from it goes on with the same items.

import { z } from "zod";
import { seedAt } from "../../engine/core/random.ts";
import type { ParquetFile } from "../dataset/parquet-file.ts";
import { DataError } from "../errors.ts";
import { RandomStream } from "../random.ts";
import type { RowFormat } from "./row-format.ts";
import { openStreamFile, type StreamShare } from "./stream-file.ts";

const count = z.int().min(0);

/** Schema of a place between two rows of a lane. */
const PLACE = z.object({
  /** completed passes over all shares */
  pass: count,
  /** place of the share in the order of this pass */
  share: count,
  /** place of the row group in the order of this share */
  group: count,
  /** row of the row group */
  row: count,
  /** what was read and is not yet in an item: ids of tokens, of which the first one is the last target so far */
  carry: z.array(z.int()),
  /** number of the block of items that begins here */
  block: count,
});
type Place = z.output<typeof PLACE>;

/** Schema of the state of a lane: where its block of items begins, and how many of its items were taken. */
export const LANE_STATE = PLACE.extend({ taken: count });
/** The state of a lane, as plain JSON. */
export type LaneState = z.output<typeof LANE_STATE>;

const BEGINNING: LaneState = { pass: 0, share: 0, group: 0, row: 0, carry: [], block: 0, taken: 0 };

/** Options of a lane. */
export interface LaneOptions<Item, Rows> {
  shares: readonly StreamShare[];
  /** seed of all orders of this lane */
  seed: number;
  /** smallest number of items that are shuffled together */
  shuffled: number;
  /** what rows become */
  format: RowFormat<Item, Rows>;
  /** where the lane goes on. Default: its beginning */
  state?: LaneState | undefined;
  /** ends the reading of a block */
  signal?: AbortSignal | undefined;
}

interface Block<Item> {
  /** undefined where they were taken */
  items: (Item | undefined)[];
  /** the order in which items are taken */
  order: number[];
  next: Place;
}

/** A sequence of items. One call at a time. Must be closed. */
export class Lane<Item, Rows extends { length: number }> {
  private readonly options: LaneOptions<Item, Rows>;
  private place: Place;
  private taken: number;
  private present: Promise<Block<Item>> | undefined;
  private following: Promise<Block<Item>> | undefined;
  private group: { of: StreamShare; number: number; rows: Rows } | undefined;
  private file: { of: StreamShare; opened: ParquetFile } | undefined;
  private isClosed = false;

  constructor(options: LaneOptions<Item, Rows>) {
    this.options = options;
    const { taken, ...place } = options.state ?? BEGINNING;
    this.place = place;
    this.taken = taken;
  }

  /** Where the lane is, after the items that were taken. */
  get state(): LaneState {
    return { ...this.place, taken: this.taken };
  }

  /**
   * The next items. The block after the present one is read meanwhile.
   * @throws DataError if a file is damaged or has no items; the reason of the signal
   */
  async take(items: number): Promise<Item[]> {
    const found: Item[] = [];
    while (found.length < items) {
      this.present ??= this.read(this.place);
      const block = await this.present;
      this.following ??= this.readLater(block.next);
      const at = block.order[this.taken];
      if (at === undefined) {
        [this.place, this.taken] = [block.next, 0];
        [this.present, this.following] = [this.following, undefined];
      } else {
        found.push(block.items[at] as Item);
        block.items[at] = undefined;
        this.taken++;
      }
    }
    return found;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.allSettled([this.present, this.following]);
    await this.file?.opened.close();
    this.file = undefined;
  }

  private readLater(place: Place): Promise<Block<Item>> {
    const block = this.read(place);
    // An error is thrown when the block is next.
    block.catch(() => {});
    return block;
  }

  private async read(place: Place): Promise<Block<Item>> {
    const { shuffled, seed, shares, format, signal } = this.options;
    const collector = format.collect(place.carry);
    let next = place;
    for await (next of this.collected(place, collector.add)) {
      signal?.throwIfAborted();
      if (this.isClosed) throw new DOMException("the stream is closed", "AbortError");
      if (collector.items() >= shuffled) break;
    }
    const isWholePass = next.pass > place.pass && place.share + place.group + place.row === 0;
    if (isWholePass && !collector.hasAdded()) {
      const name = shares[0]?.file.name ?? "the data set";
      throw new DataError(name, `has no ${format.content} to stream in the rows of its lane`);
    }
    const { items, carry } = collector.end();
    return {
      items,
      order: new RandomStream(seedAt(seed, ORDERS.items, place.block)).order(items.length),
      next: { ...next, carry, block: place.block + 1 },
    };
  }

  /** Adds all rows from a place to the end of its pass, in batches. Yields the place after each. */
  private async *collected(from: Place, add: (rows: Rows, first: number) => Promise<number>): AsyncGenerator<Place> {
    const { shares, seed } = this.options;
    const { pass } = from;
    const order = new RandomStream(seedAt(seed, ORDERS.shares, pass)).order(shares.length);
    for (let share = from.share; share < order.length; share++) {
      const own = shares[order[share] as number] as StreamShare;
      const groups = await this.groupsOf(own, seedAt(seed, ORDERS.groups, pass, share));
      const firstGroup = share === from.share ? from.group : 0;
      for (let group = firstGroup; group < groups.length; group++) {
        const rows = await this.rowsOf(own, groups[group] as number);
        let row = share === from.share && group === from.group ? from.row : 0;
        while (rows !== undefined && row < rows.length) {
          row = await add(rows, row);
          yield { ...from, share, group, row };
        }
      }
    }
    yield { ...from, pass: pass + 1, share: 0, group: 0, row: 0 };
  }

  private async groupsOf(share: StreamShare, seed: number): Promise<number[]> {
    const groups = share.groups ?? (await this.opened(share)).rowGroups.map((_, i) => i);
    return new RandomStream(seed).order(groups.length).map((at) => groups[at] as number);
  }

  /** The rows of a row group, which are kept for the blocks that follow; undefined if it has none. */
  private async rowsOf(share: StreamShare, group: number): Promise<Rows | undefined> {
    if (this.group?.of !== share || this.group.number !== group) {
      this.group = undefined;
      const rows = await this.options.format.read(await this.opened(share), group);
      this.group = rows && { of: share, number: group, rows };
    }
    return this.group?.rows;
  }

  private async opened(share: StreamShare): Promise<ParquetFile> {
    if (this.file?.of !== share) {
      await this.file?.opened.close();
      this.file = undefined;
      this.file = { of: share, opened: await openStreamFile(share.file) };
    }
    return this.file.opened;
  }
}

/** The orders that a seed determines. */
const ORDERS = { shares: 1, groups: 2, items: 3 } as const;
