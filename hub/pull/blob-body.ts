// One try to get the rest of a file: from the byte it has reached, to the end or to where the connection breaks. What
// has come is kept. Whether there is another try is for fetch-blob.ts.

import { HubError } from "../access/hub-error.ts";
import { blobName } from "../cache/listing.ts";
import { isHash } from "../cache/paths.ts";
import { wrongRange } from "../request/content-range.ts";
import { type RequestContext, resolveUrl } from "../request/context.ts";
import { brokenBy, errorOf, isPassing, retryAfter } from "../request/failures.ts";
import { follow } from "../request/follow.ts";
import { stallClock } from "../request/stall.ts";
import type { PartialBlob } from "./partial-blob.ts";

/** A try that failed where another may not. */
export class BrokenTry extends Error {
  override readonly name = "BrokenTry";
  /** milliseconds that the server asks to wait */
  readonly askedDelay: number | undefined;
  constructor(message: string, askedDelay?: number) {
    super(message);
    this.askedDelay = askedDelay;
  }
}

/** What came is not the file that the listing told of. What is there of it cannot be trusted either. */
export class WrongContent extends Error {
  override readonly name = "WrongContent";
}

export interface BodyTry {
  context: RequestContext;
  commit: string;
  /** told how many bytes more are there; less than none where they were thrown away */
  onBytes: (bytes: number) => void;
}

/** @throws BrokenTry, WrongContent; HubError where another try cannot help; what writing the file throws */
export async function receiveRest(partial: PartialBlob, { context, commit, onBytes }: BodyTry): Promise<void> {
  const clock = stallClock(context.patience.stallMs, context.signal);
  const network = async <Value>(action: Promise<Value>): Promise<Value> => {
    try {
      return await action;
    } catch (error) {
      context.signal?.throwIfAborted();
      if (error instanceof HubError || error instanceof BrokenTry || error instanceof WrongContent) throw error;
      throw new BrokenTry(brokenBy(clock.signal.aborted ? clock.signal.reason : error, context));
    }
  };
  try {
    const response = await network(openRest(partial, { context, commit, signal: clock.signal }));
    if (partial.done > 0 && response.status === 200) {
      onBytes(-partial.done);
      await partial.restart();
    }
    const reader = response.body?.getReader();
    try {
      for (;;) {
        const { value, done } = reader ? await network(reader.read()) : { value: undefined, done: true };
        if (done || !value) break;
        clock.poke();
        if (partial.done + value.byteLength > partial.file.size) throw new WrongContent("it is longer than announced");
        await partial.append(value);
        onBytes(value.byteLength);
      }
    } finally {
      await reader?.cancel().catch(() => {});
    }
    if (partial.done < partial.file.size) {
      throw new BrokenTry(`the connection ended at byte ${partial.done} of ${partial.file.size}`);
    }
  } finally {
    clock.stop();
  }
}

interface OpenRest {
  context: RequestContext;
  commit: string;
  signal: AbortSignal;
}

async function openRest({ file, done }: PartialBlob, { context, commit, signal }: OpenRest): Promise<Response> {
  const url = resolveUrl(file.path, commit, context);
  const headers = new Headers({ "accept-encoding": "identity" });
  if (done > 0) {
    headers.set("range", `bytes=${done}-`);
    headers.set("if-range", `"${blobName(file)}"`);
  }
  const { response, first, storage } = await follow(url, { headers, signal }, context);
  if (isPassing(response.status)) {
    await response.body?.cancel();
    throw new BrokenTry(`status ${response.status}`, retryAfter(response.headers));
  }
  if (response.status === 416) throw new WrongContent("the server has fewer bytes of it than announced");
  if (response.status !== 200 && response.status !== 206)
    throw await errorOf(response, context, { file: file.path, storage });
  const tag = hashOf(first.get("x-linked-etag") ?? first.get("etag"));
  const wrong =
    tag !== undefined && tag !== blobName(file)
      ? `its hash is ${tag} now, not ${blobName(file)}`
      : response.status === 206 && wrongRange(response, { start: done, size: file.size });
  if (wrong) {
    await response.body?.cancel();
    throw new WrongContent(wrong);
  }
  return response;
}

/** An ETag that is a hash; others say nothing about the content. */
function hashOf(tag: string | null): string | undefined {
  const text = tag?.replace(/^W\//, "").replace(/^"|"$/g, "");
  return isHash(text) ? text : undefined;
}
