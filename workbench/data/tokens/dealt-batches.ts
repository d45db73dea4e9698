// Deals batches of text over the ranks of a run. Each rank reads the whole text, which is much faster than tokenizing it,
// tokenizes its own batches, and gets the ids of all, so that ranks need no folder that all see.

import type { ProcessGroup } from "../../distributed/process-group.ts";
import { isOwn } from "../../distributed/shares.ts";
import { type RowBatch, type Tokenized, type TokenizeOptions, tokenize } from "./tokenize.ts";

/** Another rank has ended before all batches were dealt; it says why when outcomes are exchanged. */
export class IncompleteError extends Error {
  override readonly name = "IncompleteError";
}

/** What a rank sends in a round: its batch, or that it has none left or has failed. */
const [NONE, FAILED] = [Int32Array.of(0), Int32Array.of(1)];
/** Numbers before the ids of a batch. */
const HEADER = 6;
/** Fractions are sent as whole numbers of this part. */
const PARTS = 1e9;

/**
 * Like `tokenize`, over all ranks: every rank yields the results of all batches, in their order.
 * @param batches the same on all ranks
 * @throws IncompleteError if another rank has failed; EngineError if it is lost
 */
export async function* tokenizeDealt(
  batches: AsyncIterable<RowBatch>,
  { ranks, ...options }: TokenizeOptions & { ranks: ProcessGroup },
): AsyncGenerator<Tokenized> {
  const own = tokenize(ownOf(batches, ranks), options);
  // While the others wait for this rank, they must be told if it ends, also when its results cannot be written.
  let isAwaited = true;
  const exchanged = async (message: Int32Array) => {
    isAwaited = false;
    return ranks.gatherNumbers(message);
  };
  try {
    for (;;) {
      const { value, done } = await own.next();
      const round = await exchanged(done ? NONE : packed(value));
      if (round.some((message) => isSame(message, FAILED))) throw new IncompleteError("another rank has failed");
      const results = round.filter((message) => !isSame(message, NONE));
      if (results.length === 0) return;
      isAwaited = true;
      for (const message of results) yield unpacked(message);
    }
  } finally {
    await own.return(undefined);
    // If another rank is lost, the error that is under way says more.
    if (isAwaited) await exchanged(FAILED).catch(() => {});
  }
}

async function* ownOf(batches: AsyncIterable<RowBatch>, ranks: ProcessGroup): AsyncGenerator<RowBatch> {
  let count = 0;
  for await (const batch of batches) if (isOwn(ranks, count++)) yield batch;
}

const isSame = (message: Int32Array, mark: Int32Array): boolean => message.length === 1 && message[0] === mark[0];

function packed({ ids, rows, words, bytes, fraction, workers }: Tokenized): Int32Array {
  const message = new Int32Array(HEADER + ids.length);
  // A single row may have more bytes than 31 bits count.
  message.set([rows, words, bytes % 2 ** 31, Math.floor(bytes / 2 ** 31), Math.round(PARTS * fraction), workers]);
  message.set(ids, HEADER);
  return message;
}

function unpacked(message: Int32Array): Tokenized {
  const [rows = 0, words = 0, low = 0, high = 0, fraction = 0, workers = 0] = message;
  const ids = message.slice(HEADER) as Int32Array<ArrayBuffer>;
  return { ids, rows, words, bytes: low + high * 2 ** 31, fraction: fraction / PARTS, workers };
}
