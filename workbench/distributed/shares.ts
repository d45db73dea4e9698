// Work that is dealt over the processes of a run, such as the windows of an evaluation: each process does its share, and
// then all have the results of all.

import { EngineError } from "../engine/core/errors.ts";
import { type ProcessGroup, StoppedError } from "./process-group.ts";

/** How work is shared, and what ends it. */
export interface Sharing {
  /** the processes that share the work, all of which begin it at the same time. Default: this one does all */
  ranks?: ProcessGroup | undefined;
  signal?: AbortSignal | undefined;
}

/** Whether a piece of the work is one of this process. Pieces are dealt in turn. */
export const isOwn = (ranks: ProcessGroup | undefined, piece: number): boolean =>
  ranks === undefined || piece % ranks.size === ranks.rank;

/** How the share of a process ended. */
type Outcome<Result> = { result: Result } | { stopped: true } | { failure: string };

/**
 * Does the share of this process, and waits for those of the others.
 * @param during what is shared, which errors name, e.g. `an evaluation`
 * @param work its result is plain JSON, whose numbers are finite; they are exchanged exactly
 * @returns the results of all, in the order of ranks
 * @throws what `work` throws; where it has failed on another process, EngineError that names it; where another process
 *   was stopped, StoppedError
 */
export async function* shared<Event, Result>(
  during: string,
  work: AsyncGenerator<Event, Result>,
  { ranks, signal }: Sharing,
): AsyncGenerator<Event, Result[]> {
  if (!ranks) return [yield* work];
  ranks.during = during;
  let outcome: Outcome<Result>;
  let error: unknown;
  try {
    outcome = { result: yield* work };
  } catch (thrown) {
    error = thrown;
    outcome = signal?.aborted ? { stopped: true } : { failure: (thrown as Error).message };
  }
  const texts = await ranks.gather(JSON.stringify(outcome)).catch((lost) => {
    // If this process has failed, others may have ended of the same.
    throw error ?? lost;
  });
  if (error !== undefined) throw error;
  const outcomes = texts.map((text) => JSON.parse(text) as Outcome<Result>);
  return outcomes.map((each, rank) => {
    if ("result" in each) return each.result;
    const ends = `rank ${ranks.rank} of ${ranks.size} ends, because rank ${rank}`;
    if ("stopped" in each) throw new StoppedError(`${ends} was stopped`);
    throw new EngineError(`${ends} has failed`, each.failure);
  });
}
