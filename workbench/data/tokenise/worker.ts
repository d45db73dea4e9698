// A worker thread that tokenises: opens the tokenizer that it is told of, then answers batches in the order in which they
// come. Runs only as a worker.

import { parentPort, workerData } from "node:worker_threads";
import { readTokenizerFiles } from "../tokenizer/definition.ts";
import { type Encoder, openEncoder } from "../tokenizer/encoder.ts";
import { encodeBatch, type IdBatch, type RowBatch } from "./batch.ts";

export interface WorkerData {
  /** folder with tokenizer.json */
  tokenizer: string;
}

export type WorkerAnswer = IdBatch | { error: string };

const { tokenizer } = workerData as WorkerData;
const opening: Promise<Encoder> = readTokenizerFiles(tokenizer).then((files) => openEncoder(tokenizer, files));
// The first batch reports a failure to open.
opening.catch(() => {});

// One batch after the other: an answer carries no number.
let previous: Promise<void> = Promise.resolve();
parentPort?.on("message", (batch: RowBatch) => {
  previous = previous.then(() => answer(batch));
});

async function answer(batch: RowBatch): Promise<void> {
  try {
    const ids = encodeBatch(await opening, batch);
    parentPort?.postMessage(ids satisfies WorkerAnswer, [ids.ids.buffer]);
  } catch (error) {
    parentPort?.postMessage({ error: error instanceof Error ? error.message : String(error) } satisfies WorkerAnswer);
  }
}
