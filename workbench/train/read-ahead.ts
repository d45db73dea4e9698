// Reads micro-batches one ahead of the one in use, so that the device need not wait for the disk.

import { dispose, type NamedTensorMap } from "@tensorflow/tfjs-core";
import type { MicroBatch } from "./schedule.ts";
import type { Task } from "./task.ts";

export interface LoadedBatch {
  batch: MicroBatch;
  /** the receiver's to dispose */
  tensors: NamedTensorMap;
}

/** What was read ahead and not received is disposed at the end, also at an early one. */
export async function* readAhead(task: Task, batches: Iterable<MicroBatch>): AsyncGenerator<LoadedBatch> {
  let next: Promise<LoadedBatch> | undefined;
  try {
    for (const batch of batches) {
      const present = next;
      next = load(task, batch);
      // A failure is told when its turn comes; until then it is nobody's.
      next.catch(() => {});
      if (present) yield await present;
    }
    const last = next;
    next = undefined;
    if (last) yield await last;
  } finally {
    const unused = await next?.catch(() => undefined);
    if (unused) dispose(unused.tensors);
  }
}

async function load(task: Task, batch: MicroBatch): Promise<LoadedBatch> {
  return { batch, tensors: await task.read(batch.items, { seed: batch.readSeed }) };
}
