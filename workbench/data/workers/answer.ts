// The worker's side of a pool: answers jobs in the order in which they come. Runs only as a worker.

import { parentPort } from "node:worker_threads";

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
