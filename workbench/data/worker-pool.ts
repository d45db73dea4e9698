// Worker threads that answer jobs. A thread that cannot start, or dies, is no failure: what it had not answered is done
// here, in this thread. What a job is, its module and its caller know.

import { parentPort, Worker } from "node:worker_threads";

export interface WorkerPool<Job, Answer> {
  /** threads alive now */
  readonly workers: number;
  /** The job is with its thread when this returns. Rejects with what doing it here throws */
  run(job: Job): Promise<Answer>;
  close(): Promise<void>;
}

export interface WorkerPoolOptions<Job, Answer> {
  /** module of the workers; it calls `answerJobs` */
  module: URL;
  /** given to each of them when it starts */
  workerData: unknown;
  workers: number;
  /** does a job in this thread, where no worker can */
  here(job: Job): Answer | Promise<Answer>;
}

interface Waiting<Job, Answer> {
  job: Job;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

interface Thread<Job, Answer> {
  worker: Worker;
  /** in the order of their answers */
  waiting: Waiting<Job, Answer>[];
}

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
      // Nobody waits for what is left: a thread that ends now has nothing to hand over.
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
    // An error loses its class on the way: the same job gives it again here.
    if ("error" in answer && waiting) here(waiting);
    else if ("answer" in answer) waiting?.resolve(answer.answer);
  });
  worker.on("error", () => lose(thread));
  worker.on("exit", () => lose(thread));
  return thread;
}

// The worker's side of a pool: answers jobs in the order in which they come. Runs only as a worker.

export type WorkerAnswer<Answer> = { answer: Answer } | { error: string };

/** @param options.transfer buffers of an answer that are handed over, not copied */
export function answerJobs<Job, Answer>(
  answer: (job: Job) => Answer | Promise<Answer>,
  { transfer }: { transfer(answer: Answer): ArrayBuffer[] },
): void {
  // One job after the other: an answer carries no number.
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
