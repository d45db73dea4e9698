// The gate that limits how many requests are answered or wait at the same time. When it is full, clients are told when to
// come again; once it is closed, nobody new comes in.

import { ApiError } from "../web/api-error.ts";

export interface GateOptions {
  /** requests inside at the same time */
  most: number;
  /** clock, seconds. Default performance.now */
  clock?: () => number;
}

/** Counts the requests inside. */
export class Gate {
  readonly #most: number;
  readonly #clock: () => number;
  #inside = 0;
  #closed = false;
  /** mean time that a request is inside, seconds; recent ones count more */
  #mean = 1;
  #onEmpty = () => {};

  constructor({ most, clock = () => performance.now() / 1000 }: GateOptions) {
    this.#most = most;
    this.#clock = clock;
  }

  /**
   * Lets a request in.
   * @returns lets it out again
   * @throws ApiError 429 if the gate is full, 503 if it is closed
   */
  enter(): () => void {
    if (this.#closed) throw new ApiError(503, "the server is shutting down", { headers: { Connection: "close" } });
    if (this.#inside >= this.#most) throw this.#full();
    this.#inside++;
    const entered = this.#clock();
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inside--;
      this.#mean += (this.#clock() - entered - this.#mean) / 8;
      if (this.#inside === 0) this.#onEmpty();
    };
  }

  /** Lets nobody in any more. @returns when all are out */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#inside === 0) return;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
  }

  #full(): ApiError {
    // One place becomes free in this time on average.
    const seconds = Math.min(60, Math.max(1, Math.ceil(this.#mean / this.#most)));
    const message = `the server answers or holds ${this.#most} requests, which is its limit; try again in ${seconds} s`;
    const headers = { "Retry-After": String(seconds) };
    return new ApiError(429, message, { type: "rate_limit_error", code: "rate_limit_exceeded", headers });
  }
}
