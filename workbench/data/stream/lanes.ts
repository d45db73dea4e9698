// A stream: several lanes, one for each micro-batch of a step, and the readers that take items of them step by step.

import { createHash } from "node:crypto";
import { z } from "zod";
import { seedAt } from "../../engine/core/random.ts";
import { LANE_STATE, Lane, type LaneOptions, type LaneState } from "./lane.ts";
import type { StreamShare } from "./stream-file.ts";

/** The step and the micro-batch that items are for. */
export interface StreamPlace {
  /** completed optimizer steps */
  step: number;
  /** number of the micro-batch in its step, from 0: that of the lane */
  index: number;
}

/** Items in several lanes, each an endless sequence. */
export interface ItemStream<Item> {
  readonly lanes: number;
  /** smallest number of items of a lane that are shuffled together */
  readonly shuffled: number;
  /** hash of the names and sizes of the files, and of what determines the items */
  readonly contents: string;
  /** Begins to read the lanes from their beginning. Closed with the stream */
  reader(): StreamReader<Item>;
  close(): Promise<void>;
}

/** Reads the lanes of a stream, each in its order. */
export interface StreamReader<Item> {
  /**
   * The next items of a lane. Calls for a lane must be in the order of steps, and need not wait for each other.
   * @throws DataError if a file is damaged or has no items
   */
  take(items: number, place: StreamPlace): Promise<Item[]>;
  /** States of the lanes that this process reads, as of the beginning of a step: the next one to read, or the one before */
  statesAt(step: number): Record<string, LaneState>;
  /** Lets lanes that were not read yet go on from these states. @throws z.ZodError for other values */
  resume(states: unknown): void;
  /** Frees what is held to go on reading: files, row groups and items */
  close(): Promise<void>;
}

/** Options of `openLanes`. */
export interface LanesOptions<Item, Rows> extends Omit<LaneOptions<Item, Rows>, "shares" | "state"> {
  /** what each lane reads */
  shares: readonly (readonly StreamShare[])[];
  contents: string;
}

/** Opens the lanes. Nothing is read before items are taken. */
export function openLanes<Item, Rows extends { length: number }>({
  shares,
  contents,
  ...options
}: LanesOptions<Item, Rows>): ItemStream<Item> {
  const readers: Lanes<Item, Rows>[] = [];
  const open = (index: number, state: LaneState | undefined) =>
    new Lane({ ...options, shares: shares[index] ?? [], seed: seedAt(options.seed, index), state });
  return {
    lanes: shares.length,
    shuffled: options.shuffled,
    contents,
    reader: () => {
      const reader = new Lanes(open);
      readers.push(reader);
      return reader;
    },
    close: async () => {
      await Promise.all(readers.map((reader) => reader.close()));
    },
  };
}

/** Hash that identifies what a stream reads. @param settings plain JSON that determines the items */
export function contentsOf(files: readonly StreamShare[], ...settings: unknown[]): string {
  const names = files.map(({ file: { name, size }, groups }) => [name, size, groups]);
  return createHash("sha256")
    .update(JSON.stringify([...settings, names]))
    .digest("hex")
    .slice(0, 16);
}

/** All items of the first pass of lane 0, at most so many. They are the same ones each time. */
export async function firstPass<Item>(stream: ItemStream<Item>, most: number): Promise<Item[]> {
  const reader = stream.reader();
  const items: Item[] = [];
  for (let step = 0; step < most; step++) {
    const taken = await reader.take(1, { step, index: 0 });
    if (reader.statesAt(step + 1)[0]?.pass !== 0) break;
    items.push(...taken);
  }
  return items;
}

const STATES = z.record(z.string().regex(/^\d+$/), LANE_STATE);

interface OpenLane<Item, Rows extends { length: number }> {
  lane: Lane<Item, Rows>;
  /** states before the last steps that were read, oldest first: micro-batches are read ahead of their step */
  before: { step: number; state: LaneState }[];
  /** settled when the items that were asked for last are taken: they are asked for before earlier ones are there */
  last: Promise<unknown>;
}

/** The lanes that a process reads, opened when they are first read. */
class Lanes<Item, Rows extends { length: number }> implements StreamReader<Item> {
  private readonly lanes = new Map<number, OpenLane<Item, Rows>>();
  private resumed: Record<string, LaneState> = {};
  private readonly open: (index: number, state: LaneState | undefined) => Lane<Item, Rows>;

  constructor(open: (index: number, state: LaneState | undefined) => Lane<Item, Rows>) {
    this.open = open;
  }

  take(items: number, { step, index }: StreamPlace): Promise<Item[]> {
    let found = this.lanes.get(index);
    if (!found) {
      found = { lane: this.open(index, this.resumed[index]), before: [], last: Promise.resolve() };
      this.lanes.set(index, found);
    }
    const own = found;
    const taken = own.last.then(() => {
      own.before = [...own.before.slice(-1), { step, state: own.lane.state }];
      return own.lane.take(items);
    });
    own.last = taken.catch(() => {});
    return taken;
  }

  statesAt(step: number): Record<string, LaneState> {
    const states = Array.from(this.lanes, ([index, { lane, before }]) => {
      const ahead = before.find((each) => each.step >= step);
      return [index, ahead ? ahead.state : lane.state] as const;
    });
    return Object.fromEntries(states);
  }

  resume(states: unknown): void {
    this.resumed = STATES.parse(states);
  }

  async close(): Promise<void> {
    const close = async ({ lane, last }: OpenLane<Item, Rows>) => {
      await last;
      await lane.close();
    };
    await Promise.all(Array.from(this.lanes.values(), close));
    this.lanes.clear();
  }
}
