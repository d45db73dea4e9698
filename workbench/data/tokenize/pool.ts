// Worker threads that tokenize batches, each with a tokenizer of its own.

import type { Encoder } from "../tokenizer/encoder.ts";
import { startPool as startWorkers } from "../workers/pool.ts";
import { encodeBatch, type IdBatch, type RowBatch } from "./batch.ts";
import type { WorkerData } from "./worker.ts";

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
