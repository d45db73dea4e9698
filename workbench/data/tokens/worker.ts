// A worker thread that tokenizes: opens the tokenizer that it is told of, then answers batches in the order in which they
// come. Runs only as a worker.

import { workerData } from "node:worker_threads";
import { readTokenizerFiles } from "../tokenizer/definition.ts";
import { type Encoder, openEncoder } from "../tokenizer/encoder.ts";
import { answerJobs } from "../worker-pool.ts";
import { encodeBatch, type IdBatch, type RowBatch } from "./tokenize.ts";

export interface WorkerData {
  /** folder with tokenizer.json */
  tokenizer: string;
}

const { tokenizer } = workerData as WorkerData;
const opening: Promise<Encoder> = readTokenizerFiles(tokenizer).then((files) => openEncoder(tokenizer, files));
// The first batch reports a failure to open.
opening.catch(() => {});

answerJobs<RowBatch, IdBatch>(async (batch) => encodeBatch(await opening, batch), {
  transfer: ({ ids }) => [ids.buffer],
});
