// Worker threads that tokenise batches. A thread that cannot start, or dies, is no failure: what it had not answered is
// done here, in this thread.

import { Worker } from "node:worker_threads";
import type { Encoder } from "../tokenizer/encoder.ts";
import { encodeBatch, type IdBatch, type RowBatch } from "./batch.ts";
import type { WorkerAnswer, WorkerData } from "./worker.ts";

export interface TokenisePool {
  /** threads alive now */
  readonly workers: number;
  /** ids of a batch. Rejects when the text has no ids */
  encode(batch: RowBatch): Promise<IdBatch>;
  close(): Promise<void>;
}

interface Waiting {
  batch: RowBatch;
  resolve(ids: IdBatch): void;
  reject(error: unknown): void;
}

interface Thread {
  worker: Worker;
  /** in the order of their answers */
  waiting: Waiting[];
}

export function startPool(options: {
  tokenizer: string;
  workers: number;
  /** what this thread uses where no worker can */
  encoder: Encoder;
  /** module of the workers */
  module?: URL;
}): TokenisePool {
  const { tokenizer, encoder, workers, module = new URL("./worker.ts", import.meta.url) } = options;
  const threads = new Set<Thread>();
  const here = ({ batch, resolve, reject }: Waiting) => {
    try {
      resolve(encodeBatch(encoder, batch));
    } catch (error) {
      reject(error);
    }
  };
  const lose = (thread: Thread) => {
    threads.delete(thread);
    thread.waiting.splice(0).forEach(here);
  };
  for (let i = 0; i < workers; i++) {
    const thread = startThread(module, { tokenizer }, { here, lose });
    if (thread) threads.add(thread);
  }
  return {
    get workers() {
      return threads.size;
    },
    encode: (batch) =>
      new Promise((resolve, reject) => {
        const waiting = { batch, resolve, reject };
        const [least] = [...threads].sort((a, b) => a.waiting.length - b.waiting.length);
        if (!least) return setImmediate(here, waiting);
        least.waiting.push(waiting);
        least.worker.postMessage(batch);
      }),
    close: async () => {
      const ending = [...threads];
      threads.clear();
      // Nobody waits for what is left: a thread that ends now has nothing to hand over.
      for (const { waiting } of ending) waiting.length = 0;
      await Promise.all(ending.map(({ worker }) => worker.terminate()));
    },
  };
}

function startThread(
  module: URL,
  workerData: WorkerData,
  { here, lose }: { here(waiting: Waiting): void; lose(thread: Thread): void },
): Thread | undefined {
  let worker: Worker;
  try {
    worker = new Worker(module, { workerData });
  } catch {
    return undefined;
  }
  const thread: Thread = { worker, waiting: [] };
  worker.on("message", (answer: WorkerAnswer) => {
    const waiting = thread.waiting.shift();
    // An error loses its class on the way: the same text gives it again here.
    if ("error" in answer && waiting) here(waiting);
    else waiting?.resolve(answer as IdBatch);
  });
  worker.on("error", () => lose(thread));
  worker.on("exit", () => lose(thread));
  return thread;
}
