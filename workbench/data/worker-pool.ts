// A pool of worker threads that answer jobs, and the worker's part of it. If a thread cannot start, or ends, its open
// jobs are done in the calling thread instead, so that a job never fails because of a thread.

import { parentPort, Worker } from "node:worker_threads";

interface WorkerPool<Job, Answer> {
  /** threads alive now */
  readonly workers: number;
  /** sends the job to a thread before it returns. Rejects with the error that the job throws */
  run(job: Job): Promise<Answer>;
  close(): Promise<void>;
}

interface WorkerPoolOptions<Job, Answer> {
  /** module of the workers, which calls `answerJobs` */
  module: URL;
  /** passed to each worker when it starts */
  workerData: unknown;
  workers: number;
  /** does a job in this thread, if no worker can */
  here(job: Job): Answer | Promise<Answer>;
}

interface Waiting<Job, Answer> {
  job: Job;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

interface Thread<Job, Answer> {
  worker: Worker;
  /** jobs without an answer, oldest first */
  waiting: Waiting<Job, Answer>[];
}

/** Starts the workers. With 0 workers every job is done in this thread. */
export function startPool<Job, Answer>(options: WorkerPoolOptions<Job, Answer>): WorkerPool<Job, Answer> {
  const threads = new Set<Thread<Job, Answer>>();
  const here = async ({ job, resolve, reject }: Waiting<Job, Answer>) => {
    try {
      resolve(await options.here(job));
    } catch (error) {
      reject(error);
    }
  };
  const lose = (thread: Thread<Job, Answer>) => {
    threads.delete(thread);
    thread.waiting.splice(0).forEach(here);
  };
  for (let i = 0; i < options.workers; i++) {
    const thread = startThread(options, { here, lose });
    if (thread) threads.add(thread);
  }
  return {
    get workers() {
      return threads.size;
    },
    run: (job) =>
      new Promise((resolve, reject) => {
        const waiting = { job, resolve, reject };
        const [least] = [...threads].sort((a, b) => a.waiting.length - b.waiting.length);
        if (!least) return setImmediate(here, waiting);
        least.waiting.push(waiting);
        least.worker.postMessage(job);
      }),
    close: async () => {
      const ending = [...threads];
      threads.clear();
      // Open jobs are dropped, so that ending threads do not hand them over to this one.
      for (const { waiting } of ending) waiting.length = 0;
      await Promise.all(ending.map(({ worker }) => worker.terminate()));
    },
  };
}

function startThread<Job, Answer>(
  { module, workerData }: WorkerPoolOptions<Job, Answer>,
  { here, lose }: { here(waiting: Waiting<Job, Answer>): void; lose(thread: Thread<Job, Answer>): void },
): Thread<Job, Answer> | undefined {
  let worker: Worker;
  try {
    worker = new Worker(module, { workerData });
  } catch {
    return undefined;
  }
  const thread: Thread<Job, Answer> = { worker, waiting: [] };
  worker.on("message", (answer: WorkerAnswer<Answer>) => {
    const waiting = thread.waiting.shift();
    // Errors lose their class between threads, so the job is repeated here to throw the original one.
    if ("error" in answer && waiting) here(waiting);
    else if ("answer" in answer) waiting?.resolve(answer.answer);
  });
  worker.on("error", () => lose(thread));
  worker.on("exit", () => lose(thread));
  return thread;
}

type WorkerAnswer<Answer> = { answer: Answer } | { error: string };

/**
 * Answers the jobs that a pool sends to this worker, in order. Called by the workers' modules only.
 * @param options.transfer returns the buffers of an answer that are transferred instead of copied
 */
export function answerJobs<Job, Answer>(
  answer: (job: Job) => Answer | Promise<Answer>,
  { transfer }: { transfer(answer: Answer): ArrayBuffer[] },
): void {
  // Jobs run one after the other, because answers are matched to jobs by their order.
  let previous: Promise<void> = Promise.resolve();
  parentPort?.on("message", (job: Job) => {
    previous = previous.then(() => post(job));
  });
  const post = async (job: Job): Promise<void> => {
    try {
      const given = await answer(job);
      parentPort?.postMessage({ answer: given } satisfies WorkerAnswer<Answer>, transfer(given));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      parentPort?.postMessage({ error: message } satisfies WorkerAnswer<Answer>);
    }
  };
}
