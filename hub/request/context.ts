// What every request to a Hub has with it: where to, as whom, about which repository, and for how long. Built once for
// a pull or a push.

import type { HubAccess, RepoName } from "../access/repository.ts";

export interface Retry {
  kind: "retrying";
  file?: string | undefined;
  attempt: number;
  delayMs: number;
  reason: string;
}

export interface RequestContext {
  access: HubAccess;
  repo: RepoName;
  patience: Patience;
  signal?: AbortSignal | undefined;
  /** told before each pause */
  onRetry: (retry: Retry) => void;
}

export interface ContextOptions {
  patience?: Partial<Patience> | undefined;
  signal?: AbortSignal | undefined;
  onRetry?: (retry: Retry) => void;
}

export function requestContext(
  access: HubAccess,
  repo: RepoName,
  { patience, signal, onRetry = () => {} }: ContextOptions = {},
): RequestContext {
  const endpoint = access.endpoint.replace(/\/+$/, "");
  return { access: { ...access, endpoint }, repo, patience: patienceOf(patience), signal, onRetry };
}

/** Host and port of the Hub, for messages: the address itself may hold a password. */
export function hostOf({ endpoint }: HubAccess): string {
  return URL.canParse(endpoint) ? new URL(endpoint).host : endpoint;
}

/** What to do without a token that the Hub knows. */
export function howToGetToken({ endpoint }: HubAccess): string {
  const page = endpoint === "https://huggingface.co" ? `make one at ${endpoint}/settings/tokens and ` : "";
  return `${page}set HF_TOKEN to ${page ? "it" : "one of its tokens"}`;
}

/** `models/owner/name` has no prefix on the Hub's pages, data sets do. */
export function pageOf({ endpoint }: HubAccess, { type, id }: RepoName): string {
  return `${endpoint}/${type === "model" ? "" : `${type}s/`}${id}`;
}

/** Where a file of a commit is. */
export function resolveUrl(path: string, commit: string, { access, repo }: RequestContext): string {
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return `${pageOf(access, repo)}/resolve/${commit}/${encoded}`;
}

/** A text from elsewhere, on one line, without the token should it be in there. */
export function safeText(text: string, { token }: HubAccess): string {
  const line = text.replace(/\s+/g, " ").trim();
  return token ? line.replaceAll(token, "…") : line;
}

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
