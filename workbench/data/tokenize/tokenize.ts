// Tokenizes batches of rows, in this thread or in several at once, and gives the ids in the order of the rows: how many
// threads there are can be seen in the time alone.

import type { Encoder } from "../tokenizer/encoder.ts";
import type { IdBatch, RowBatch } from "./batch.ts";
import { startPool } from "./pool.ts";

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
