// Tokenizes rows of text in batches, in this thread or in several worker threads. The ids come in the order of the rows
// and do not depend on the number of threads.

import { Buffer } from "node:buffer";
import type { Encoder } from "../tokenizer/encoder.ts";
import { IdList } from "../tokenizer/id-list.ts";
import { WordCounter } from "../tokenizer/word-counter.ts";
import { startPool as startWorkers } from "../worker-pool.ts";
import type { WorkerData } from "./worker.ts";

/** Some rows as one string, because sending one string to a worker is much faster than sending an array of strings. */
export interface RowBatch {
  text: string;
  /** end of each row in `text`, in UTF-16 units */
  ends: Uint32Array;
  /** share of the data that has been read, 0 to 1 */
  fraction: number;
}

/** The result of a batch. */
export interface IdBatch {
  /** concatenated ids of the rows, each of which is tokenized by itself */
  ids: Int32Array<ArrayBuffer>;
  rows: number;
  words: number;
  /** bytes of the text in UTF-8 */
  bytes: number;
}

/** UTF-16 units per batch: some tens of milliseconds of work. Rows are not split. */
const BATCH_UNITS = 2 ** 19;

/** Regroups rows into batches of about equal size. */
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
      // Rows are counted as well, so that a batch of empty rows is limited too.
      if (units + texts.length < batchUnits) continue;
      yield batchOf(texts, fraction);
      [texts, units] = [[], 0];
    }
  }
  if (texts.length > 0) yield batchOf(texts, fraction);
}

/** Joins rows to a batch. */
export function batchOf(texts: readonly string[], fraction: number): RowBatch {
  const ends = new Uint32Array(texts.length);
  let end = 0;
  texts.forEach((text, i) => {
    end += text.length;
    ends[i] = end;
  });
  return { text: texts.join(""), ends, fraction };
}

/** Encodes a batch. */
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

interface TokenizePool {
  /** threads alive now */
  readonly workers: number;
  /** encodes a batch; rejects if the tokenizer cannot encode the text */
  encode(batch: RowBatch): Promise<IdBatch>;
  close(): Promise<void>;
}

/** Starts worker threads that tokenize batches, each with its own tokenizer. */
export function startPool(options: {
  /** folder with tokenizer.json */
  tokenizer: string;
  workers: number;
  /** encodes in this thread, if no worker can */
  encoder: Encoder;
  /** module of the workers. Default worker.ts */
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

/** Batches sent to each thread before their results are read, so that threads do not wait. */
const AHEAD = 2;

/** The result of a batch, and how far the work is. */
export interface Tokenized extends IdBatch {
  fraction: number;
  /** worker threads alive; 0 if this thread does the work */
  workers: number;
}

/** How batches are encoded. */
export interface TokenizeOptions {
  encoder: Encoder;
  /** folder with tokenizer.json */
  tokenizer: string;
  /** worker threads; 0 for none */
  workers: number;
  signal?: AbortSignal | undefined;
  /** module of the workers. Default worker.ts */
  module?: URL;
}

/**
 * Encodes batches in order.
 * @throws DataError if the tokenizer cannot encode a text; the signal's reason if it aborts
 */
export async function* tokenize(batches: AsyncIterable<RowBatch>, options: TokenizeOptions): AsyncGenerator<Tokenized> {
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
      // A rejection is handled when its batch is next.
      ids.catch(() => {});
      waiting.push({ fraction: batch.fraction, ids });
      if (waiting.length > AHEAD * Math.max(1, pool.workers)) yield await next();
    }
    while (waiting.length > 0) yield await next();
  } finally {
    await pool.close();
  }
}

/** Awaits the promise; rejects earlier if the signal aborts. */
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
