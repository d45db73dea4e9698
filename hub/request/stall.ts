// Notices a connection that has gone silent. A clock that is set back by every byte; no byte is read here.

export interface StallClock {
  /** aborted after too long a silence, or when the caller's own signal is */
  readonly signal: AbortSignal;
  /** something came */
  poke(): void;
  stop(): void;
}

/** Says of a connection that nothing came for too long. */
export class Stalled extends Error {
  override readonly name = "Stalled";
}

export function stallClock(milliseconds: number, signal?: AbortSignal): StallClock {
  const controller = new AbortController();
  let last = performance.now();
  const check = () => {
    const left = last + milliseconds - performance.now();
    if (left <= 0) controller.abort(new Stalled(`no byte for ${milliseconds / 1000} s`));
    else timer = setTimeout(check, left);
  };
  // One timer that looks how late it is, not one for each chunk.
  let timer = setTimeout(check, milliseconds);
  return {
    signal: signal ? AbortSignal.any([signal, controller.signal]) : controller.signal,
    poke: () => {
      last = performance.now();
    },
    stop: () => clearTimeout(timer),
  };
}
