// A lane of a stream: an endless sequence of windows of tokens from its row groups. It passes over them again and again,
// each time in another order, and shuffles windows in blocks, which end with the pass. Each row is in one place of each
// pass. The state of a lane is small, and a lane that starts from it goes on with the same windows.

import { z } from "zod";
import { seedAt } from "../../engine/core/random.ts";
import type { ParquetFile } from "../dataset/parquet-file.ts";
import { checkColumn, textsOf } from "../dataset/rows.ts";
import { DataError } from "../errors.ts";
import { RandomStream } from "../random.ts";
import { IdList } from "../tokenizer/id-list.ts";
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
  /** ids that were read and are not yet inputs of a window. The first one is the last target so far */
  carry: z.array(z.int()),
  /** number of the block of windows that begins here */
  block: count,
});
type Place = z.output<typeof PLACE>;

/** Schema of the state of a lane: where its block of windows begins, and how many of its windows were taken. */
export const LANE_STATE = PLACE.extend({ taken: count });
/** The state of a lane, as plain JSON. */
export type LaneState = z.output<typeof LANE_STATE>;

const BEGINNING: LaneState = { pass: 0, share: 0, group: 0, row: 0, carry: [], block: 0, taken: 0 };

/** Options of a lane. */
export interface LaneOptions {
  shares: readonly StreamShare[];
  /** seed of all orders of this lane */
  seed: number;
  /** inputs of a window, tokens */
  context: number;
  /** smallest number of windows that are shuffled together */
  shuffled: number;
  /** column with the text */
  column: string;
  /** encodes rows, each by itself, and concatenates their ids */
  encode(texts: readonly string[]): Promise<Int32Array>;
  /** where the lane goes on. Default: its beginning */
  state?: LaneState | undefined;
  /** ends the reading of a block */
  signal?: AbortSignal | undefined;
}

interface Block {
  windows: Int32Array[];
  /** the order in which windows are taken */
  order: number[];
  next: Place;
}

/** UTF-16 units of text that are encoded at a time: some milliseconds of work. Rows are not split. */
const BATCH_UNITS = 2 ** 16;

/** A sequence of windows. One call at a time. Must be closed. */
export class Lane {
  private readonly options: LaneOptions;
  private place: Place;
  private taken: number;
  private present: Promise<Block> | undefined;
  private following: Promise<Block> | undefined;
  private group: { of: StreamShare; number: number; values: ArrayLike<unknown> } | undefined;
  private file: { of: StreamShare; opened: ParquetFile } | undefined;
  private isClosed = false;

  constructor(options: LaneOptions) {
    this.options = options;
    const { taken, ...place } = options.state ?? BEGINNING;
    this.place = place;
    this.taken = taken;
  }

  /** Where the lane is, after the windows that were taken. */
  get state(): LaneState {
    return { ...this.place, taken: this.taken };
  }

  /**
   * The next windows, of context + 1 ids each. The block after the present one is read meanwhile.
   * @throws DataError if a file is damaged or has no text; the reason of the signal
   */
  async take(windows: number): Promise<Int32Array[]> {
    const found: Int32Array[] = [];
    while (found.length < windows) {
      this.present ??= this.read(this.place);
      const block = await this.present;
      this.following ??= this.readLater(block.next);
      const at = block.order[this.taken];
      if (at === undefined) {
        [this.place, this.taken] = [block.next, 0];
        [this.present, this.following] = [this.following, undefined];
      } else {
        found.push(block.windows[at] as Int32Array);
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

  private readLater(place: Place): Promise<Block> {
    const block = this.read(place);
    // An error is thrown when the block is next.
    block.catch(() => {});
    return block;
  }

  private async read(place: Place): Promise<Block> {
    const { context, shuffled, seed, shares, signal } = this.options;
    const read = new IdList();
    read.pushAll(place.carry);
    let next = place;
    for await (const batch of this.batches(place)) {
      read.pushAll(batch.ids);
      next = batch.next;
      signal?.throwIfAborted();
      if (this.isClosed) throw new DOMException("the stream is closed", "AbortError");
      if (read.length > shuffled * context) break;
    }
    const isWholePass = next.pass > place.pass && place.share + place.group + place.row === 0;
    if (isWholePass && read.length === place.carry.length) {
      throw new DataError(shares[0]?.file.name ?? "the data set", "has no text to stream in the rows of its lane");
    }
    const ids = read.take();
    const windows = Math.floor(Math.max(0, ids.length - 1) / context);
    return {
      windows: Array.from({ length: windows }, (_, i) => ids.slice(i * context, (i + 1) * context + 1)),
      order: new RandomStream(seedAt(seed, ORDERS.windows, place.block)).order(windows),
      next: { ...next, carry: [...ids.subarray(windows * context)], block: place.block + 1 },
    };
  }

  /** The ids of all rows from a place to the end of its pass, in batches. `next` is the place after a batch. */
  private async *batches(from: Place): AsyncGenerator<{ ids: Int32Array; next: Place }> {
    const { shares, seed } = this.options;
    const { pass } = from;
    const order = new RandomStream(seedAt(seed, ORDERS.shares, pass)).order(shares.length);
    for (let share = from.share; share < order.length; share++) {
      const own = shares[order[share] as number] as StreamShare;
      const groups = await this.groupsOf(own, seedAt(seed, ORDERS.groups, pass, share));
      const firstGroup = share === from.share ? from.group : 0;
      for (let group = firstGroup; group < groups.length; group++) {
        const firstRow = share === from.share && group === from.group ? from.row : 0;
        for await (const { ids, row } of this.rows(own, groups[group] as number, firstRow))
          yield { ids, next: { ...from, share, group, row } };
      }
    }
    yield { ids: new Int32Array(0), next: { ...from, pass: pass + 1, share: 0, group: 0, row: 0 } };
  }

  private async groupsOf(share: StreamShare, seed: number): Promise<number[]> {
    const groups = share.groups ?? (await this.opened(share)).rowGroups.map((_, i) => i);
    return new RandomStream(seed).order(groups.length).map((at) => groups[at] as number);
  }

  /** The ids of a row group from a row on. `row` is the one after those of the ids. */
  private async *rows(
    share: StreamShare,
    group: number,
    first: number,
  ): AsyncGenerator<{ ids: Int32Array; row: number }> {
    const { column, encode } = this.options;
    const all = await this.valuesOf(share, group);
    for (let row = first; row < all.length; ) {
      const start = row;
      for (let units = 0; row < all.length && units < BATCH_UNITS; row++) units += lengthOf(all[row]);
      const texts = textsOf(
        Array.from({ length: row - start }, (_, i) => all[start + i]),
        { path: share.file.name, column },
      );
      yield { ids: await encode(texts), row };
    }
  }

  /** The column of a row group, which is kept for the blocks that follow. */
  private async valuesOf(share: StreamShare, group: number): Promise<ArrayLike<unknown>> {
    if (this.group?.of !== share || this.group.number !== group) {
      this.group = undefined;
      const file = await this.opened(share);
      for await (const { values } of file.groups([this.options.column], { only: group }))
        this.group = { of: share, number: group, values: values[0] as ArrayLike<unknown> };
    }
    return this.group?.values ?? [];
  }

  private async opened(share: StreamShare): Promise<ParquetFile> {
    if (this.file?.of !== share) {
      await this.file?.opened.close();
      this.file = undefined;
      const opened = await openStreamFile(share.file);
      this.file = { of: share, opened };
      checkColumn(opened, this.options.column);
    }
    return this.file.opened;
  }
}

/** The orders that a seed determines. */
const ORDERS = { shares: 1, groups: 2, windows: 3 } as const;

/** Null rows count too, so that a batch of them ends. */
const lengthOf = (value: unknown): number => (typeof value === "string" ? value.length : 0) + 1;
