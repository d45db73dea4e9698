// A fetch function for the Hub's API, also passed to @huggingface/hub. It adds the token, follows redirects, retries
// temporary failures, reads the whole answer and throws HubError for unsuccessful ones. The token is sent only to the
// Hub and never to the storage that it redirects to, regardless of the runtime's fetch. The endpoint may have a path,
// such as `http://host/api/hf`. Proxies forward addresses of the Hub without that path, and it is added here.
// pull/fetch-blob.ts reads the bodies of files.

import { HubError } from "../access/hub-error.ts";
import type { HubAccess } from "../access/repository.ts";
import { delayBefore, hostOf, pause, type RequestContext, stallClock } from "./context.ts";
import { brokenBy, errorOf, isPassing, retryAfter, unreachable } from "./failures.ts";

/** A fetch that throws HubError for unsuccessful answers. */
export type HubFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** What differs between the operations that send requests. */
export interface HubFetchOptions {
  /** makes the request of each attempt, since a stream can be read only once. Default: `init` itself */
  prepare?: (init: RequestInit, poke: () => void) => RequestInit;
  /** the file that a request is about */
  fileOf?: (init: RequestInit) => string | undefined;
  /** whether a request sends a file. Its storage may refuse it, and a retry may help then */
  sendsFile?: (init: RequestInit) => boolean;
  /** called after a failed attempt, before the next one */
  onFailedTry?: (init: RequestInit) => void;
}

/** Makes a fetch for one operation. */
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

/**
 * Sends a request once.
 * @throws HubError when a retry cannot help
 */
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
    if (whole.ok) return failedBy("its answer is not JSON", context);
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

/** Whether an answer of type JSON can be parsed. If it is damaged, the request is repeated. */
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

/** Longest answer, in bytes; far more than the API ever sends. */
const MOST_BYTES = 2 ** 28;

/** The same answer with its body in memory, so that a connection that breaks in the middle is retried too. */
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
      throw new HubError("refused", `${hostOf(access)} sends an answer that does not end; is it a Hub?`);
  }
  const bodiless = response.status === 204 || response.status === 304;
  const { status, statusText } = response;
  const headers = withWholeLinks(response.headers, address, access);
  return new Response(bodiless ? null : new Blob(chunks), { status, statusText, headers });
}

const MOST_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Headers that are sent to the Hub only. */
const PRIVATE_HEADERS = ["authorization", "cookie", "if-range"];

/** An answer after redirects. */
export interface Followed {
  response: Response;
  /** headers of the Hub's own answer; they have the hash of a file even if the storage does not send it */
  first: Headers;
  /** host of the storage that answered; undefined if the Hub itself did */
  storage: string | undefined;
  /** address that answered */
  address: URL;
}

/**
 * Sends one request and follows its redirects, without retries.
 * @throws HubError for a redirect that cannot be followed; what fetch throws
 */
export async function follow(url: string, init: RequestInit, { access }: RequestContext): Promise<Followed> {
  const fetcher = access.fetch ?? globalThis.fetch;
  const home = new URL(access.endpoint);
  const headers = new Headers(init.headers);
  headers.delete("authorization");
  let request: RequestInit = { ...init, redirect: "manual" };
  let target = addressOf(url, home);
  /** address to try if the endpoint answers with 404: the redirect target without the path of the endpoint */
  let fallback: URL | undefined;
  let first: Headers | undefined;
  for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
    const sent = new Headers(headers);
    if (target.origin === home.origin) {
      if (access.token) sent.set("authorization", `Bearer ${access.token}`);
    } else for (const name of PRIVATE_HEADERS) sent.delete(name);
    const response = await fetcher(target.href, { ...request, headers: sent });
    if (response.status === 404 && fallback) {
      await response.body?.cancel();
      [target, fallback] = [fallback, undefined];
      continue;
    }
    first ??= response.headers;
    const location = response.headers.get("location");
    if (!REDIRECTS.has(response.status) || location === null) {
      return { response, first, storage: target.origin === home.origin ? undefined : target.host, address: target };
    }
    await response.body?.cancel();
    const said = redirectTarget(location, target);
    const kept = isUnder(target, home) ? underEndpoint(said, home) : undefined;
    [target, fallback] = kept ? [kept, said] : [said, undefined];
    if (response.status === 303 || (response.status < 303 && request.method === "POST")) {
      request = { ...request, method: "GET", body: null };
    }
  }
  throw new HubError("refused", `${target.host} redirects more than ${MOST_REDIRECTS} times`);
}

/** Addresses in the Hub's answers can be relative. */
function addressOf(url: string, home: URL): URL {
  if (URL.canParse(url)) return new URL(url);
  const address = new URL(url, home);
  return underEndpoint(address, home) ?? address;
}

function redirectTarget(location: string, from: URL): URL {
  const target = URL.canParse(location, from) ? new URL(location, from) : undefined;
  if (target?.protocol === "https:" || (target?.protocol === "http:" && from.protocol === "http:")) return target;
  throw new HubError(
    "refused",
    `${from.host} redirects to ${target ? `${target.protocol}//` : "an invalid address"}, which is not safe to follow`,
  );
}

/** Path of an address without trailing slashes. */
const pathOf = ({ pathname }: URL): string => pathname.replace(/\/+$/, "");

/** Whether an address is the endpoint or below it. */
const isUnder = (address: URL, endpoint: URL): boolean =>
  address.origin === endpoint.origin && `${address.pathname}/`.startsWith(`${pathOf(endpoint)}/`);

/** The same address below the endpoint. Undefined if it already is, or belongs to another host. */
export function underEndpoint(address: URL, endpoint: URL): URL | undefined {
  if (address.origin !== endpoint.origin || isUnder(address, endpoint)) return undefined;
  return new URL(`${endpoint.origin}${pathOf(endpoint)}${address.pathname}${address.search}`);
}

/** Address of the Hub whose answers a mirror forwards. */
const HUB = "https://huggingface.co";

/**
 * Makes the addresses of `Link` headers absolute and their syntax canonical, because some readers accept nothing else.
 * An address that is relative, lacks the path of the endpoint, or names the Hub behind a mirror is replaced by one
 * below the endpoint.
 * @param from the address that answered
 */
export function withWholeLinks(headers: Headers, from: URL, { endpoint }: HubAccess): Headers {
  const links = headers.get("link");
  if (links === null) return headers;
  const home = new URL(endpoint);
  const whole = new Headers(headers);
  const link = (text: string): string => {
    const own = text.startsWith(`${HUB}/`) ? endpoint + text.slice(HUB.length) : text;
    if (!URL.canParse(own, from)) return text;
    const address = new URL(own, from);
    return (underEndpoint(address, home) ?? address).href;
  };
  const resolved = links.replace(/<([^>]*)>/g, (_, text: string) => `<${link(text)}>`);
  whole.set("link", resolved.replace(/>;\s*rel="?([^",;\s]+)"?/g, '>; rel="$1"'));
  return whole;
}
