// Work that tells its progress and ends with its result, as a stage of an experiment or of a verb.

import type { ExperimentEvent } from "./events.ts";

/**
 * Runs work to the event that is its result.
 * @param kind of that event
 * @param told what becomes of those before it
 * @returns the result, without its kind
 */
export async function* lastEvent<Event extends { kind: string }, Kind extends Event["kind"]>(
  work: AsyncIterable<Event>,
  kind: Kind,
  told: (event: Event) => ExperimentEvent,
): AsyncGenerator<ExperimentEvent, Omit<Extract<Event, { kind: Kind }>, "kind">> {
  for await (const event of work) {
    if (event.kind === kind) {
      const { kind: _, ...result } = event as Extract<Event, { kind: Kind }>;
      return result;
    }
    yield told(event);
  }
  throw new Error(`the work ended before its ${kind}`);
}

/** Runs a stage that nobody watches to its end. */
export async function resultOf<Result>(stage: AsyncGenerator<unknown, Result>): Promise<Result> {
  for (;;) {
    const { value, done } = await stage.next();
    if (done) return value;
  }
}
