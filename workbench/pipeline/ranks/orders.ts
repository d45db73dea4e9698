// What the first of several processes tells the others to do, which otherwise wait for it.

import { z } from "zod";
import type { ProcessGroup } from "../../distributed/process-group.ts";

/** To convert, score or train with the first process, or to end. */
export const ORDER = z.union([
  /** key of a variant */
  z.object({ convert: z.string() }),
  /** the folder of the model; null is the base model */
  z.object({ score: z.string().nullable() }),
  /** key of a variant */
  z.object({ train: z.string() }),
  z.object({ ends: z.literal(true) }),
]);

type Order = z.infer<typeof ORDER>;

/** Tells the others what is next, if this is the first of several processes. */
export async function announce(ranks: ProcessGroup | undefined, order: Order): Promise<void> {
  if (ranks?.rank === 0) await ranks.tell(JSON.stringify(order));
}

/** Why the first process ends, unless it has done all. */
export interface Ending {
  failure?: string;
  stopped?: boolean;
}

/**
 * Tells the other processes that the first one ends, and waits until they know, as it serves their meeting point. If it
 * has failed or was stopped, they may be anywhere, and are not waited for.
 */
export async function dismiss(ranks: ProcessGroup, { failure, stopped = false }: Ending): Promise<void> {
  if (failure !== undefined) return ranks.tellFailure(failure);
  if (stopped) return ranks.tellStopped();
  await announce(ranks, { ends: true });
  await ranks.barrier();
}
