// What tokenizing hands from thread to thread: rows as one text with their ends, and the ids of all of them. One string
// crosses to a worker in a single copy; an array of a thousand does not.

import { Buffer } from "node:buffer";
import type { Encoder } from "../tokenizer/encoder.ts";
import { IdList } from "../tokenizer/id-list.ts";
import { WordCounter } from "../words.ts";

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
