// Downloads a blob and verifies its hash. An interrupted download is resumed from the last byte, within the limits of
// Patience. The blob's lock is held meanwhile; if another process finished the blob first, nothing is downloaded.
// `fetchBlob` repeats attempts, `receiveRest` makes one.

import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { HubError } from "../access/hub-error.ts";
import { formatRepoName } from "../access/repository.ts";
import { blobName, type RepoFile } from "../cache/listing.ts";
import { lockFile } from "../cache/lock.ts";
import { isHash, type RepoPaths } from "../cache/paths.ts";
import { sizeOf } from "../cache/snapshot.ts";
import { quote } from "../files/file-error.ts";
import { delayBefore, hostOf, pause, type RequestContext, resolveUrl, stallClock } from "../request/context.ts";
import type { Emit } from "../request/emitting.ts";
import {
  brokenBy,
  errorOf,
  isPassing,
  PassingFailure,
  retryAfter,
  unreachable,
  wrongRange,
} from "../request/failures.ts";
import { follow } from "../request/hub-fetch.ts";
import type { PullEvent } from "./events.ts";
import { PartialBlob } from "./partial-blob.ts";

/** What the download of a blob needs. */
export interface FetchBlob {
  context: RequestContext;
  paths: RepoPaths;
  commit: string;
  emit: Emit<PullEvent>;
}

/** Number of complete downloads with the wrong content after which a file is reported as corrupt. */
const MOST_FETCHES = 3;

/**
 * An attempt that delivered FAIR_BYTES, or FAIR_SHARE of the file if that is less, does not count as a failure, because
 * large files may need many attempts.
 */
const FAIR_BYTES = 2 ** 20;
const FAIR_SHARE = 1 / 16;

/** Bytes between two progress events of a file. */
const EVENT_BYTES = 2 ** 18;

/**
 * Downloads the blob of a file, unless it is already complete, and verifies its hash.
 * @returns whether the blob had to be downloaded
 * @throws HubError; the signal's reason when it is aborted; errors of the file system
 */
export async function fetchBlob(file: RepoFile, { context, paths, commit, emit }: FetchBlob): Promise<boolean> {
  const blob = paths.blob(blobName(file));
  const unlock = await lockFile(paths.lock(blobName(file)), {
    signal: context.signal,
    onWait: () => emit({ kind: "waiting", file: file.path }),
  });
  try {
    const size = await sizeOf(blob);
    if (size === file.size) return false;
    if (size !== undefined) await rm(blob);
    await mkdir(dirname(blob), { recursive: true });
    const partial = await PartialBlob.open(file, blob);
    try {
      await fetchWhole(partial, { context, paths, commit, emit });
      await partial.finish();
    } finally {
      await partial.close();
    }
    return true;
  } finally {
    await unlock();
  }
}

async function fetchWhole(partial: PartialBlob, { context, commit, emit }: FetchBlob): Promise<void> {
  const { file } = partial;
  const progress = progressOf(partial, emit);
  let failures = 0;
  for (let fetches = 1; ; ) {
    const before = partial.done;
    try {
      if (partial.done < file.size) await receiveRest(partial, { context, commit, onBytes: progress.add });
      progress.flush();
      const digest = partial.digest();
      if (digest === blobName(file)) return;
      throw new WrongContent(`its hash is ${digest}, not ${blobName(file)}`);
    } catch (error) {
      progress.flush();
      if (error instanceof WrongContent) {
        progress.add(-partial.done);
        await partial.restart();
        progress.flush();
        if (fetches++ >= MOST_FETCHES) throw corrupt(file, error.message, context);
      } else if (!(error instanceof PassingFailure)) throw error;
      const fair = Math.min(FAIR_BYTES, file.size * FAIR_SHARE);
      failures = partial.done - before >= Math.max(1, fair) ? 1 : failures + 1;
      if (failures >= context.patience.attempts) throw unreachable(`${quote(file.path)}: ${error.message}`, context);
      const askedDelay = error instanceof PassingFailure ? error.askedDelay : undefined;
      const delayMs = delayBefore(failures + 1, context.patience, askedDelay);
      emit({ kind: "retrying", file: file.path, attempt: failures + 1, delayMs, reason: error.message });
      await pause(delayMs, context.signal);
    }
  }
}

function corrupt(file: RepoFile, problem: string, { access, repo }: RequestContext): HubError {
  return new HubError(
    "corrupt",
    `${formatRepoName(repo)}: ${quote(file.path)} arrived damaged from ${hostOf(access)} ${MOST_FETCHES} times (${problem}); try again later, or another network`,
  );
}

function progressOf(partial: PartialBlob, emit: Emit<PullEvent>) {
  const { path, size } = partial.file;
  let pending = 0;
  const flush = () => {
    if (pending !== 0) emit({ kind: "progress", file: path, bytes: pending, done: partial.done, size });
    pending = 0;
  };
  const add = (bytes: number) => {
    pending += bytes;
    if (pending >= EVENT_BYTES) flush();
  };
  return { add, flush };
}

/** The content differs from the listing, so the bytes received so far are discarded. */
class WrongContent extends Error {
  override readonly name = "WrongContent";
}

interface BodyTry {
  context: RequestContext;
  commit: string;
  /** called with the number of new bytes; negative when bytes were discarded */
  onBytes: (bytes: number) => void;
}

/**
 * One attempt to receive the rest of a file. Received bytes are kept.
 * @throws PassingFailure; WrongContent; HubError when a retry cannot help; errors of the file system
 */
async function receiveRest(partial: PartialBlob, { context, commit, onBytes }: BodyTry): Promise<void> {
  const clock = stallClock(context.patience.stallMs, context.signal);
  const network = async <Value>(action: Promise<Value>): Promise<Value> => {
    try {
      return await action;
    } catch (error) {
      context.signal?.throwIfAborted();
      if (error instanceof HubError || error instanceof PassingFailure || error instanceof WrongContent) throw error;
      throw new PassingFailure(brokenBy(clock.signal.aborted ? clock.signal.reason : error, context));
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
      throw new PassingFailure(`the connection ended at byte ${partial.done} of ${partial.file.size}`);
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
    throw new PassingFailure(`status ${response.status}`, retryAfter(response.headers));
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

/** An ETag that is a hash. Undefined for other ETags, which say nothing about the content. */
function hashOf(tag: string | null): string | undefined {
  const text = tag?.replace(/^W\//, "").replace(/^"|"$/g, "");
  return isHash(text) ? text : undefined;
}
