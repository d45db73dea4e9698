// Fetches one blob until it is whole and verified, however often the connection breaks, within patience. Holds the
// blob's lock meanwhile; if another process was faster, there is nothing left to do.

import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { HubError } from "../access/hub-error.ts";
import { formatRepoName } from "../access/repository.ts";
import { blobName, type RepoFile } from "../cache/listing.ts";
import { lockFile } from "../cache/lock.ts";
import type { RepoPaths } from "../cache/paths.ts";
import { sizeOf } from "../cache/snapshot.ts";
import { quote } from "../files/file-error.ts";
import { hostOf, type RequestContext } from "../request/context.ts";
import type { Emit } from "../request/emitting.ts";
import { unreachable } from "../request/failures.ts";
import { delayBefore, pause } from "../request/patience.ts";
import { BrokenTry, receiveRest, WrongContent } from "./blob-body.ts";
import type { PullEvent } from "./events.ts";
import { PartialBlob } from "./partial-blob.ts";

export interface FetchBlob {
  context: RequestContext;
  paths: RepoPaths;
  commit: string;
  emit: Emit<PullEvent>;
}

/** Times that a file is fetched from its first byte before it counts as corrupt. */
const MOST_FETCHES = 3;

/** A try that brought this much, or this share of the file, was no failure: large files need many. */
const FAIR_BYTES = 2 ** 20;
const FAIR_SHARE = 1 / 16;

/** Bytes between two progress events of a file. */
const EVENT_BYTES = 2 ** 18;

/** @returns whether it had to be fetched. @throws HubError; the signal's reason; what the file system throws */
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
      } else if (!(error instanceof BrokenTry)) throw error;
      const fair = Math.min(FAIR_BYTES, file.size * FAIR_SHARE);
      failures = partial.done - before >= Math.max(1, fair) ? 1 : failures + 1;
      if (failures >= context.patience.attempts) throw unreachable(`${quote(file.path)}: ${error.message}`, context);
      const askedDelay = error instanceof BrokenTry ? error.askedDelay : undefined;
      const delayMs = delayBefore(failures + 1, context.patience, askedDelay);
      emit({ kind: "retrying", file: file.path, attempt: failures + 1, delayMs, reason: error.message });
      await pause(delayMs, context.signal);
    }
  }
}

function corrupt(file: RepoFile, problem: string, { access, repo }: RequestContext): HubError {
  return new HubError(
    "corrupt",
    `${formatRepoName(repo)}: ${quote(file.path)} came wrong from ${hostOf(access)} ${MOST_FETCHES} times (${problem}); try again later, or another network`,
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
