// Windows of tokens that are read while a model trains on them, from parquet files on the disk or on the Hub. Only the row
// groups that are needed next are read, and nothing is stored.

import { createHash } from "node:crypto";
import { z } from "zod";
import { seedAt } from "../../engine/core/random.ts";
import { readTokenizerFiles } from "../tokenizer/definition.ts";
import { openEncoder } from "../tokenizer/encoder.ts";
import { batchOf, startPool } from "../tokens/tokenize.ts";
import { LANE_STATE, Lane, type LaneState } from "./lane.ts";
import { divided, type StreamShare } from "./stream-file.ts";

/** Options of `openTokenStream`. */
export interface TokenStreamOptions {
  /** parquet files of the split, in order, or some of their row groups */
  files: readonly StreamShare[];
  /** micro-batches of a step, each of which reads a lane of its own */
  lanes: number;
  /** inputs of a window, tokens */
  context: number;
  /** seed of the order */
  seed: number;
  /** smallest number of windows of a lane that are shuffled together. Default 1024 */
  shuffled?: number | undefined;
  /** column with the text. Default `text` */
  column?: string | undefined;
  /** folder with tokenizer.json */
  tokenizer: string;
  /** worker threads that tokenize, 0 for none. Default 1 */
  workers?: number | undefined;
  /** ends reads that are under way, which throw its reason */
  signal?: AbortSignal | undefined;
}

/** The step and the micro-batch that windows are for. */
export interface StreamPlace {
  /** completed optimizer steps */
  step: number;
  /** number of the micro-batch in its step, from 0: that of the lane */
  index: number;
}

/** Windows of tokens in several lanes, each an endless sequence. */
export interface TokenStream {
  readonly lanes: number;
  readonly context: number;
  /** smallest number of windows that are shuffled together */
  readonly shuffled: number;
  /** hash of the names and sizes of the files, and of the tokenizer */
  readonly contents: string;
  /** Begins to read the lanes from their beginning. Closed with the stream */
  reader(): StreamReader;
  close(): Promise<void>;
}

/** Reads the lanes of a stream, each in its order. */
export interface StreamReader {
  /**
   * The next windows of a lane, of context + 1 ids each. Calls for a lane must be in the order of steps, and need not wait
   * for each other.
   * @throws DataError if a file is damaged or has no text
   */
  take(windows: number, place: StreamPlace): Promise<Int32Array[]>;
  /** States of the lanes that this process reads, as of the beginning of a step: the next one to read, or the one before */
  statesAt(step: number): Record<string, LaneState>;
  /** Lets lanes that were not read yet go on from these states. @throws z.ZodError for other values */
  resume(states: unknown): void;
  /** Frees what is held to go on reading: files, row groups and windows */
  close(): Promise<void>;
}

/**
 * Opens the stream. Only the tokenizer and, for few files, their row groups' sizes are read.
 * @throws DataError if a file is not a parquet file, or there are fewer row groups than lanes
 */
export async function openTokenStream(options: TokenStreamOptions): Promise<TokenStream> {
  const { files, lanes, context, shuffled = 1024, tokenizer, workers = 1 } = options;
  const definition = await readTokenizerFiles(tokenizer);
  const encoder = openEncoder(tokenizer, definition);
  const shares = await divided(files, lanes);
  const names = JSON.stringify([
    definition.hash,
    files.map(({ file: { name, size }, groups }) => [name, size, groups]),
  ]);
  const pool = startPool({ tokenizer, workers, encoder });
  const encode = async (texts: readonly string[]) => (await pool.encode(batchOf(texts, 0))).ids;
  const open = (index: number, state: LaneState | undefined) => {
    const { seed, column = "text", signal } = options;
    const own = { shares: shares[index] ?? [], seed: seedAt(seed, index), state };
    return new Lane({ ...own, context, shuffled, column, encode, signal });
  };
  const readers: Lanes[] = [];
  return {
    lanes,
    context,
    shuffled,
    contents: createHash("sha256").update(names).digest("hex").slice(0, 16),
    reader: () => {
      const reader = new Lanes(open);
      readers.push(reader);
      return reader;
    },
    close: async () => {
      await Promise.all(readers.map((reader) => reader.close()));
      await pool.close();
    },
  };
}

/** All windows of the first pass of lane 0, at most so many. They are the same ones each time. */
export async function firstPass(stream: TokenStream, most: number): Promise<Int32Array[]> {
  const reader = stream.reader();
  const windows: Int32Array[] = [];
  for (let step = 0; step < most; step++) {
    const taken = await reader.take(1, { step, index: 0 });
    if (reader.statesAt(step + 1)[0]?.pass !== 0) break;
    windows.push(...taken);
  }
  return windows;
}

const STATES = z.record(z.string().regex(/^\d+$/), LANE_STATE);

interface OpenLane {
  lane: Lane;
  /** states before the last steps that were read, oldest first: micro-batches are read ahead of their step */
  before: { step: number; state: LaneState }[];
  /** settled when the windows that were asked for last are taken: they are asked for before earlier ones are there */
  last: Promise<unknown>;
}

/** The lanes that a process reads, opened when they are first read. */
class Lanes implements StreamReader {
  private readonly lanes = new Map<number, OpenLane>();
  private resumed: Record<string, LaneState> = {};
  private readonly open: (index: number, state: LaneState | undefined) => Lane;

  constructor(open: (index: number, state: LaneState | undefined) => Lane) {
    this.open = open;
  }

  take(windows: number, { step, index }: StreamPlace): Promise<Int32Array[]> {
    let found = this.lanes.get(index);
    if (!found) {
      found = { lane: this.open(index, this.resumed[index]), before: [], last: Promise.resolve() };
      this.lanes.set(index, found);
    }
    const own = found;
    const taken = own.last.then(() => {
      own.before = [...own.before.slice(-1), { step, state: own.lane.state }];
      return own.lane.take(windows);
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
    const close = async ({ lane, last }: OpenLane) => {
      await last;
      await lane.close();
    };
    await Promise.all(Array.from(this.lanes.values(), close));
    this.lanes.clear();
  }
}
