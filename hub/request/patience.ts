// How long to wait for a Hub and how often to ask again. Numbers and a pause; what is tried is another file's.

export interface Patience {
  /** tries of one request before it fails */
  attempts: number;
  /** pause before the second try, doubled for each one after; milliseconds */
  firstDelayMs: number;
  /** longest pause, also of those that the Hub asks for; milliseconds */
  longestDelayMs: number;
  /** silence after which a connection counts as dead; milliseconds */
  stallMs: number;
}

const DEFAULTS: Patience = { attempts: 6, firstDelayMs: 500, longestDelayMs: 60_000, stallMs: 30_000 };

export function patienceOf(wanted: Partial<Patience> = {}): Patience {
  return { ...DEFAULTS, ...wanted };
}

/**
 * Pause before try `attempt` (2, 3, …), in milliseconds: exponential, less up to a quarter by chance, so that clients
 * that failed together do not come back together.
 * @param asked what the Hub said in Retry-After
 */
export function delayBefore(attempt: number, patience: Patience, asked?: number): number {
  const doubled = patience.firstDelayMs * 2 ** (attempt - 2) * (1 - Math.random() / 4);
  return Math.round(Math.min(Math.max(doubled, asked ?? 0), patience.longestDelayMs));
}

/** @throws the signal's reason */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
