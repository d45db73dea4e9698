// A queue between those who produce events and the one that reads them.

/** Events in the order in which they were pushed, for one reader. */
export interface Channel<Event> extends AsyncIterable<Event> {
  push(event: Event): void;
  /** No event follows. */
  end(): void;
  /** The reader gets the error after the events before it. */
  fail(error: unknown): void;
}

/** An empty channel. */
export function channel<Event>(): Channel<Event> {
  const events: Event[] = [];
  let closed: { error?: unknown } | undefined;
  let wake = () => {};
  const close = (reason: { error?: unknown }) => {
    closed ??= reason;
    wake();
  };
  return {
    push(event) {
      events.push(event);
      wake();
    },
    end: () => close({}),
    fail: (error) => close({ error }),
    async *[Symbol.asyncIterator]() {
      for (;;) {
        while (events.length > 0) yield events.shift() as Event;
        if (closed && "error" in closed) throw closed.error;
        if (closed) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
