// What all requests of one operation share: the Hub, the repository, the token, and how often and how long to try.
// Also the clock that detects stalled connections.

import type { HubAccess, RepoName } from "../access/repository.ts";

/** A failed attempt that is repeated after a pause. */
export interface Retry {
  kind: "retrying";
  file?: string | undefined;
  attempt: number;
  delayMs: number;
  reason: string;
}

/** What all requests of one operation share. */
export interface RequestContext {
  access: HubAccess;
  repo: RepoName;
  patience: Patience;
  signal?: AbortSignal | undefined;
  /** called before each pause */
  onRetry: (retry: Retry) => void;
}

/** Options of `requestContext`. */
export interface ContextOptions {
  patience?: Partial<Patience> | undefined;
  signal?: AbortSignal | undefined;
  onRetry?: (retry: Retry) => void;
}

/** Makes the context of an operation; a trailing slash of the endpoint is removed. */
export function requestContext(
  access: HubAccess,
  repo: RepoName,
  { patience, signal, onRetry = () => {} }: ContextOptions = {},
): RequestContext {
  const endpoint = access.endpoint.replace(/\/+$/, "");
  return { access: { ...access, endpoint }, repo, patience: patienceOf(patience), signal, onRetry };
}

/** Host and port of the Hub, for messages. The address is not shown, since it may contain a password. */
export function hostOf({ endpoint }: HubAccess): string {
  return URL.canParse(endpoint) ? new URL(endpoint).host : endpoint;
}

/** Tells the user how to get a token that this Hub accepts. */
export function howToGetToken({ endpoint }: HubAccess): string {
  const page = endpoint === "https://huggingface.co" ? `make one at ${endpoint}/settings/tokens and ` : "";
  return `${page}set HF_TOKEN to ${page ? "it" : "one of its tokens"}`;
}

/** The page of a repository. The addresses of models have no prefix; those of data sets start with `datasets/`. */
export function pageOf({ endpoint }: HubAccess, { type, id }: RepoName): string {
  return `${endpoint}/${type === "model" ? "" : `${type}s/`}${id}`;
}

/** The address of a file at a commit. */
export function resolveUrl(path: string, commit: string, { access, repo }: RequestContext): string {
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return `${pageOf(access, repo)}/resolve/${commit}/${encoded}`;
}

/** Text from a server, on one line and without the token. */
export function safeText(text: string, { token }: HubAccess): string {
  const line = text.replace(/\s+/g, " ").trim();
  return token ? line.replaceAll(token, "…") : line;
}

/** How often and how long to try. */
export interface Patience {
  /** attempts of one request before it fails */
  attempts: number;
  /** pause before the second attempt, in milliseconds; doubled for each further attempt */
  firstDelayMs: number;
  /** longest pause in milliseconds, including pauses that the Hub asks for */
  longestDelayMs: number;
  /** milliseconds without a byte after which a connection counts as broken */
  stallMs: number;
}

const DEFAULTS: Patience = { attempts: 6, firstDelayMs: 500, longestDelayMs: 60_000, stallMs: 30_000 };

/** Fills in the defaults: 6 attempts, pauses from 0.5 s up to 60 s, broken after 30 s without a byte. */
export function patienceOf(wanted: Partial<Patience> = {}): Patience {
  return { ...DEFAULTS, ...wanted };
}

/**
 * The pause before attempt `attempt` (2, 3, …), in milliseconds: exponential, minus a random part of up to a quarter,
 * so that clients that failed together do not retry together.
 * @param asked pause that the server asked for (Retry-After), in milliseconds
 */
export function delayBefore(attempt: number, patience: Patience, asked?: number): number {
  const doubled = patience.firstDelayMs * 2 ** (attempt - 2) * (1 - Math.random() / 4);
  return Math.round(Math.min(Math.max(doubled, asked ?? 0), patience.longestDelayMs));
}

/**
 * Waits.
 * @throws the signal's reason when it is aborted
 */
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

/** Detects that a connection delivers no bytes. */
export interface StallClock {
  /** aborted when the connection stalls, or by the caller's signal */
  readonly signal: AbortSignal;
  /** tells the clock that bytes arrived */
  poke(): void;
  stop(): void;
}

/** A connection delivered nothing for too long. */
export class Stalled extends Error {
  override readonly name = "Stalled";
}

/**
 * Starts a clock that aborts its signal when `poke` has not been called for `milliseconds`. The caller must stop it.
 */
export function stallClock(milliseconds: number, signal?: AbortSignal): StallClock {
  const controller = new AbortController();
  let last = performance.now();
  const check = () => {
    const left = last + milliseconds - performance.now();
    if (left <= 0) controller.abort(new Stalled(`no byte for ${milliseconds / 1000} s`));
    else timer = setTimeout(check, left);
  };
  // One timer checks how long ago the last byte came; restarting a timer for each chunk would be slow.
  let timer = setTimeout(check, milliseconds);
  return {
    signal: signal ? AbortSignal.any([signal, controller.signal]) : controller.signal,
    poke: () => {
      last = performance.now();
    },
    stop: () => clearTimeout(timer),
  };
}
