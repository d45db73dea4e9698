// Turns work that reports events by a callback, possibly from several parts at once, into an async generator. When
// the consumer stops reading, the work is aborted, and the generator waits until it has released its files and locks.

/** Reports an event. */
export type Emit<Event> = (event: Event) => void;

/**
 * Runs `work` and yields its events; throws its error. The signal that `work` receives is also aborted when the
 * consumer stops reading.
 */
export async function* emitting<Event>(
  work: (emit: Emit<Event>, signal: AbortSignal) => Promise<void>,
  signal?: AbortSignal,
): AsyncGenerator<Event, void> {
  const stop = new AbortController();
  const waiting: Event[] = [];
  let wake = () => {};
  let ended = false;
  const emit = (event: Event) => {
    waiting.push(event);
    wake();
  };
  const end = () => {
    ended = true;
    wake();
  };
  const running = work(emit, signal ? AbortSignal.any([signal, stop.signal]) : stop.signal);
  running.then(end, end);
  try {
    while (!ended || waiting.length > 0) {
      if (waiting.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      yield* waiting.splice(0);
    }
    await running;
  } finally {
    if (!ended) stop.abort(new Error("the consumer stopped reading the events"));
    await running.catch(() => {});
  }
}

/** Options of `eachOf`. */
export interface EachOptions {
  /** number of items processed at the same time */
  connections: number;
  signal?: AbortSignal | undefined;
}

/**
 * Processes all items, several at a time. When one fails, the others are aborted; its error is thrown after all have
 * stopped.
 */
export async function eachOf<Item>(
  items: readonly Item[],
  { connections, signal }: EachOptions,
  work: (item: Item, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  let failure: { error: unknown } | undefined;
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) {
      if (either.aborted) return;
      try {
        await work(item, either);
      } catch (error) {
        failure ??= { error };
        stop.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(connections, items.length)) }, worker));
  if (failure) throw failure.error;
  signal?.throwIfAborted();
}
