// A fetch for the Hub's API, also given to @huggingface/hub: adds the token, retries what passes, reads the answer whole
// and throws HubError for any that is no success. Bodies of files are for pull/blob-body.ts.

import { HubError } from "../access/hub-error.ts";
import { hostOf, type RequestContext } from "./context.ts";
import { withWholeLinks } from "./endpoint-path.ts";
import { brokenBy, errorOf, isPassing, retryAfter, unreachable } from "./failures.ts";
import { type Followed, follow } from "./follow.ts";
import { delayBefore, pause } from "./patience.ts";
import { stallClock } from "./stall.ts";

export type HubFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

export interface HubFetchOptions {
  /** what to send at each try. A stream can be read but once. Default `init` itself */
  prepare?: (init: RequestInit, poke: () => void) => RequestInit;
  /** which file a request is about */
  fileOf?: (init: RequestInit) => string | undefined;
  /** whether a request sends a file, which its storage may refuse where another try can help */
  sendsFile?: (init: RequestInit) => boolean;
  /** told when a try has failed, before the next */
  onFailedTry?: (init: RequestInit) => void;
}

export function hubFetch(context: RequestContext, options: HubFetchOptions = {}): HubFetch {
  return async (input, init = {}) => {
    const url = input instanceof Request ? input.url : String(input);
    const { patience, onRetry } = context;
    const signal = init.signal ?? context.signal;
    for (let attempt = 1; ; attempt++) {
      const tried = await tryOnce(url, init, context, options);
      if (tried instanceof Response) return tried;
      signal?.throwIfAborted();
      options.onFailedTry?.(init);
      if (attempt >= patience.attempts) throw tried.final();
      const delayMs = delayBefore(attempt + 1, patience, tried.askedDelay);
      onRetry({ kind: "retrying", file: options.fileOf?.(init), attempt: attempt + 1, delayMs, reason: tried.reason });
      await pause(delayMs, signal ?? undefined);
    }
  };
}

interface FailedTry {
  reason: string;
  askedDelay?: number | undefined;
  final(): Error;
}

/** @throws HubError where another try cannot help */
async function tryOnce(
  url: string,
  init: RequestInit,
  context: RequestContext,
  { prepare, sendsFile, fileOf }: HubFetchOptions,
): Promise<Response | FailedTry> {
  const caller = init.signal ?? context.signal;
  const clock = stallClock(context.patience.stallMs, caller ?? undefined);
  try {
    const sent = prepare ? prepare(init, clock.poke) : init;
    const followed = await follow(url, { ...sent, signal: clock.signal }, context);
    const { storage } = followed;
    const whole = await readWhole(followed, clock.poke, context);
    if (whole.ok && (await isReadable(whole))) return whole;
    if (whole.ok) return failedBy("its answer is no JSON", context);
    const error = await errorOf(whole, context, {
      file: fileOf?.(init),
      storage: storage ?? (sendsFile?.(init) ? followed.address.host : undefined),
    });
    if (!isPassing(whole.status)) throw error;
    const reason = `status ${whole.status}`;
    return { reason, askedDelay: retryAfter(whole.headers), final: () => error };
  } catch (error) {
    if (error instanceof HubError) throw error;
    caller?.throwIfAborted();
    const cause = clock.signal.aborted ? clock.signal.reason : error;
    return failedBy(brokenBy(cause, context), context);
  } finally {
    clock.stop();
  }
}

function failedBy(reason: string, context: RequestContext): FailedTry {
  return { reason, final: () => unreachable(reason, context) };
}

/** What says that it is JSON has to be: an answer that was spoilt on its way is asked for again. */
async function isReadable(whole: Response): Promise<boolean> {
  if (!whole.headers.get("content-type")?.includes("json")) return true;
  const text = await whole.clone().text();
  try {
    if (text !== "") JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Far more than any answer of the API is long. */
const MOST_BYTES = 2 ** 28;

/** The same answer with its body in memory, so that a connection that breaks now is retried too. */
async function readWhole(
  { response, address }: Followed,
  poke: () => void,
  { access }: RequestContext,
): Promise<Response> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    poke();
    chunks.push(chunk as Uint8Array<ArrayBuffer>);
    bytes += chunk.byteLength;
    if (bytes > MOST_BYTES)
      throw new HubError("refused", `${hostOf(access)} gives an answer without an end; is it a Hub?`);
  }
  const bodiless = response.status === 204 || response.status === 304;
  const { status, statusText } = response;
  const headers = withWholeLinks(response.headers, address, access);
  return new Response(bodiless ? null : new Blob(chunks), { status, statusText, headers });
}
