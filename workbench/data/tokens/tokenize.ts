// What tokenizing hands from thread to thread: rows as one text with their ends, and the ids of all of them. One string
// crosses to a worker in a single copy; an array of a thousand does not.

import { Buffer } from "node:buffer";
import type { Encoder } from "../tokenizer/encoder.ts";
import { IdList } from "../tokenizer/id-list.ts";
import { WordCounter } from "../tokenizer/word-counter.ts";
import { startPool as startWorkers } from "../worker-pool.ts";
import type { WorkerData } from "./worker.ts";

export interface RowBatch {
  text: string;
  /** where each row ends, in UTF-16 units */
  ends: Uint32Array;
  /** share of the data that has been read, 0 to 1 */
  fraction: number;
}

export interface IdBatch {
  /** ids of the rows one after the other, each row tokenized by itself */
  ids: Int32Array<ArrayBuffer>;
  rows: number;
  words: number;
  /** of UTF-8 */
  bytes: number;
}

/** UTF-16 units a batch: some tens of milliseconds of work. A row is never cut. */
const BATCH_UNITS = 2 ** 19;

/** Rows in batches of about equal size, whatever the sizes they come in. */
export async function* batched(
  rows: AsyncIterable<{ texts: string[]; fraction: number }>,
  batchUnits: number = BATCH_UNITS,
): AsyncGenerator<RowBatch> {
  let [texts, units, fraction]: [string[], number, number] = [[], 0, 0];
  for await (const part of rows) {
    fraction = part.fraction;
    for (const text of part.texts) {
      texts.push(text);
      units += text.length;
      // Empty rows take room too.
      if (units + texts.length < batchUnits) continue;
      yield batchOf(texts, fraction);
      [texts, units] = [[], 0];
    }
  }
  if (texts.length > 0) yield batchOf(texts, fraction);
}

function batchOf(texts: readonly string[], fraction: number): RowBatch {
  const ends = new Uint32Array(texts.length);
  let end = 0;
  texts.forEach((text, i) => {
    end += text.length;
    ends[i] = end;
  });
  return { text: texts.join(""), ends, fraction };
}

/** The ids of a batch. Which thread makes them changes nothing. */
export function encodeBatch(encoder: Encoder, { text, ends }: RowBatch): IdBatch {
  const ids = new IdList(16 + (text.length >> 1));
  const counter = new WordCounter();
  let [start, bytes] = [0, 0];
  for (const end of ends) {
    const row = text.slice(start, end);
    encoder.encode(row, ids);
    counter.add(row);
    counter.breakWord();
    bytes += Buffer.byteLength(row);
    start = end;
  }
  return { ids: ids.take(), rows: ends.length, words: counter.words, bytes };
}

// Worker threads that tokenize batches, each with a tokenizer of its own.

export interface TokenizePool {
  /** threads alive now */
  readonly workers: number;
  /** ids of a batch. Rejects when the text has no ids */
  encode(batch: RowBatch): Promise<IdBatch>;
  close(): Promise<void>;
}

export function startPool(options: {
  tokenizer: string;
  workers: number;
  /** what this thread uses where no worker can */
  encoder: Encoder;
  /** module of the workers */
  module?: URL;
}): TokenizePool {
  const { tokenizer, encoder, workers, module = new URL("./worker.ts", import.meta.url) } = options;
  const pool = startWorkers<RowBatch, IdBatch>({
    module,
    workerData: { tokenizer } satisfies WorkerData,
    workers,
    here: (batch) => encodeBatch(encoder, batch),
  });
  return {
    get workers() {
      return pool.workers;
    },
    encode: (batch) => pool.run(batch),
    close: () => pool.close(),
  };
}

// Tokenizes batches of rows, in this thread or in several at once, and gives the ids in the order of the rows: how many
// threads there are can be seen in the time alone.

/** Batches given to each thread ahead of its answers: enough that none waits, few enough for memory. */
const AHEAD = 2;

export interface Tokenized extends IdBatch {
  fraction: number;
  /** threads at work, 0 when it is this one */
  workers: number;
}

/** @throws the reason of the signal's abort; DataError when a text has no ids */
export async function* tokenize(
  batches: AsyncIterable<RowBatch>,
  options: { encoder: Encoder; tokenizer: string; workers: number; signal?: AbortSignal | undefined; module?: URL },
): AsyncGenerator<Tokenized> {
  const { signal } = options;
  signal?.throwIfAborted();
  const pool = startPool(options);
  const waiting: { fraction: number; ids: Promise<IdBatch> }[] = [];
  const next = async (): Promise<Tokenized> => {
    const { fraction, ids } = waiting.shift() as (typeof waiting)[number];
    return { ...(await orAbort(ids, signal)), fraction, workers: pool.workers };
  };
  try {
    for await (const batch of batches) {
      signal?.throwIfAborted();
      const ids = pool.encode(batch);
      // Failures are met in order, when it is their turn.
      ids.catch(() => {});
      waiting.push({ fraction: batch.fraction, ids });
      if (waiting.length > AHEAD * Math.max(1, pool.workers)) yield await next();
    }
    while (waiting.length > 0) yield await next();
  } finally {
    await pool.close();
  }
}

/** What the promise gives, or the abort if that is first. */
async function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  signal.throwIfAborted();
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
