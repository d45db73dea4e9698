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

/**
 * Deals pieces such that all processes have about the same: the largest first, each to the process that has least.
 * @param sizes of the pieces. Pieces of one size are dealt in their order
 * @param count of the processes
 * @param last what the last process gets, for one of each other. Default 1
 * @returns the rank of each piece
 */
export function dealtBySize(sizes: readonly number[], count: number, last = 1): number[] {
  const loads = new Array<number>(count).fill(0);
  const ranks = new Array<number>(sizes.length);
  for (const [piece, size] of [...sizes.entries()].sort(([, a], [, b]) => b - a)) {
    const rank = loads.indexOf(Math.min(...loads));
    (loads[rank] as number) += rank === count - 1 ? size / last : size;
    ranks[piece] = rank;
  }
  return ranks;
}

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
  sharing: Sharing,
): AsyncGenerator<Event, Result[]> {
  const { ranks } = sharing;
  const before = ranks?.during;
  if (ranks) ranks.during = during;
  let own: () => Result;
  try {
    const result = yield* work;
    own = () => result;
  } catch (thrown) {
    own = () => {
      throw thrown;
    };
  }
  const results = await gathered(during, async () => own(), sharing);
  if (ranks) ranks.during = before;
  return results;
}

/**
 * Like `shared`, for work that each process does for itself: none goes on before all have done it.
 * @returns the result of this process, which is not exchanged and may be anything
 */
export async function* together<Event, Result>(
  during: string,
  work: AsyncGenerator<Event, Result>,
  sharing: Sharing,
): AsyncGenerator<Event, Result> {
  const results: Result[] = [];
  const done = async function* (): AsyncGenerator<Event, true> {
    results.push(yield* work);
    return true;
  };
  yield* shared(during, done(), sharing);
  return results[0] as Result;
}

/** Like `shared`, for work without progress. */
export async function gathered<Result>(
  during: string,
  work: () => Promise<Result>,
  { ranks, signal }: Sharing,
): Promise<Result[]> {
  if (!ranks) return [await work()];
  const before = ranks.during;
  ranks.during = during;
  let outcome: Outcome<Result>;
  let error: unknown;
  try {
    outcome = { result: await work() };
  } catch (thrown) {
    error = thrown;
    outcome = signal?.aborted ? { stopped: true } : { failure: (thrown as Error).message };
  }
  const texts = await ranks.gather(JSON.stringify(outcome)).catch((lost) => {
    // If this process has failed, others may have ended of the same.
    throw error ?? lost;
  });
  if (error !== undefined) throw error;
  ranks.during = before;
  const outcomes = texts.map((text) => JSON.parse(text) as Outcome<Result>);
  return outcomes.map((each, rank) => {
    if ("result" in each) return each.result;
    const ends = `rank ${ranks.rank} of ${ranks.size} ends, because rank ${rank}`;
    if ("stopped" in each) throw new StoppedError(`${ends} was stopped`);
    throw new EngineError(`${ends} has failed`, each.failure);
  });
}
