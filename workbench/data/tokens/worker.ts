// Entry point of the worker threads that tokenize: opens a tokenizer, then encodes the batches it receives.

import { workerData } from "node:worker_threads";
import { readTokenizerFiles } from "../tokenizer/definition.ts";
import { type Encoder, openEncoder } from "../tokenizer/encoder.ts";
import { answerJobs } from "../worker-pool.ts";
import { encodeBatch, type IdBatch, type RowBatch } from "./tokenize.ts";

/** Data that a worker receives when it starts. */
export interface WorkerData {
  /** folder with tokenizer.json */
  tokenizer: string;
}

const { tokenizer } = workerData as WorkerData;
const opening: Promise<Encoder> = readTokenizerFiles(tokenizer).then((files) => openEncoder(tokenizer, files));
// A failure is reported by the first batch.
opening.catch(() => {});

answerJobs<RowBatch, IdBatch>(async (batch) => encodeBatch(await opening, batch), {
  transfer: ({ ids }) => [ids.buffer],
});
