// Fetches a released checkpoint into the zoo's folder: goes on where it was broken off, follows redirects, and checks the
// length, version and checksum that the server gives. No token is sent: releases are public. The file is not opened.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { lockFile } from "../cache/lock.ts";
import { reason } from "../files/byte-source.ts";
import { delayBefore, type Patience, patienceOf, pause, stallClock } from "../request/context.ts";
import { forget, openPartial, type PartialFile, type RemoteFile, wholeFile } from "./partial.ts";
import { type ZooEntry, ZooError } from "./releases.ts";

export interface FetchCheckpointOptions {
  /** where it goes; made if it is not there */
  folder: string;
  /** address of the release, without a slash at its end */
  release: string;
  /** take it from the folder or not at all. Default false */
  offline?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** default the runtime's */
  fetch?: typeof fetch | undefined;
  /** how long and how often to try. Default that of request/patience.ts */
  patience?: Partial<Patience> | undefined;
}

export interface FetchedCheckpoint {
  kind: "fetched";
  path: string;
  size: number;
  from: "cache" | "release";
}

export type ZooEvent =
  /** another process is fetching this file */
  | { kind: "waiting"; file: string }
  /** `bytes` more, `done` of `size` now: undefined where the server does not say; negative where a part was thrown away */
  | { kind: "progress"; file: string; bytes: number; done: number; size: number | undefined }
  | { kind: "retrying"; file: string; attempt: number; delayMs: number; reason: string }
  /** last of all */
  | FetchedCheckpoint;

/** @throws ZooError, one line: no such file, no answer, no space, a file that is not what was announced */
export async function* fetchCheckpoint(
  { file }: ZooEntry,
  options: FetchCheckpointOptions,
): AsyncGenerator<ZooEvent, void> {
  const path = join(options.folder, file);
  const known = await wholeFile(path);
  if (known) return yield { kind: "fetched", path, size: known.size as number, from: "cache" };
  if (options.offline) throw new ZooError("is not in the cache, and nothing may be fetched offline", { file: path });
  const patience = patienceOf(options.patience);
  await onDisk(path, mkdir(options.folder, { recursive: true }));
  let waited = false;
  const unlock = await lockFile(`${path}.lock`, { signal: options.signal, onWait: () => (waited = true) });
  try {
    if (waited) yield { kind: "waiting", file };
    const meanwhile = await wholeFile(path);
    if (meanwhile) return yield { kind: "fetched", path, size: meanwhile.size as number, from: "cache" };
    const url = `${options.release}/${file}`;
    for (let attempt = 1; ; attempt++) {
      try {
        yield* fetchOnce({ url, path, file, options, patience });
        break;
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!(error instanceof Passing)) throw error;
        if (attempt >= patience.attempts) throw gaveUp(url, { attempts: attempt, reason: error.message });
        const delayMs = delayBefore(attempt + 1, patience, error.askedDelay);
        yield { kind: "retrying", file, attempt: attempt + 1, delayMs, reason: error.message };
        await pause(delayMs, options.signal);
      }
    }
    const whole = await wholeFile(path);
    yield { kind: "fetched", path, size: whole?.size ?? 0, from: "release" };
  } finally {
    await unlock();
  }
}

/** Removes a checkpoint that turned out to be none, so that the next fetch begins anew. */
export function forgetCheckpoint({ file }: ZooEntry, folder: string): Promise<void> {
  return forget(join(folder, file));
}

/** What another try can mend. */
class Passing extends Error {
  override readonly name = "Passing";
  readonly askedDelay: number | undefined;
  constructor(message: string, askedDelay?: number) {
    super(message);
    this.askedDelay = askedDelay;
  }
}

interface Attempt {
  url: string;
  path: string;
  file: string;
  options: FetchCheckpointOptions;
  patience: Patience;
}

async function* fetchOnce({ url, path, file, options, patience }: Attempt): AsyncGenerator<ZooEvent, void> {
  const partial = await onDisk(path, openPartial(path));
  const clock = stallClock(patience.stallMs, options.signal);
  try {
    const { remote: known, done } = partial;
    if (known?.url === url && known.size === done && done > 0) {
      // All had come when the last fetch was broken off.
      await expectChecksum(partial, known);
      return await onDisk(path, partial.commit());
    }
    const response = await ask(url, partial, { fetch: options.fetch ?? fetch, signal: clock.signal });
    const remote = describe(url, response);
    if (response.status === 416) {
      await partial.restart(remote);
      throw new Passing("what was there is no part of the file");
    }
    if (!continues(partial, response, remote)) {
      const lost = partial.done;
      await onDisk(path, partial.restart(remote));
      if (lost > 0) yield { kind: "progress", file, bytes: -lost, done: 0, size: remote.size };
    } else if (partial.done > 0) {
      yield { kind: "progress", file, bytes: partial.done, done: partial.done, size: remote.size };
    }
    const { size } = remote;
    for await (const bytes of bodyOf(response)) {
      clock.poke();
      if (size !== undefined && partial.done + bytes.byteLength > size) {
        await partial.restart(remote);
        throw new Passing(`more came than the ${size} bytes that were announced`);
      }
      await onDisk(path, partial.append(bytes));
      yield { kind: "progress", file, bytes: bytes.byteLength, done: partial.done, size };
    }
    if (size !== undefined && partial.done < size) throw new Passing(`cut off after ${partial.done} of ${size} bytes`);
    await expectChecksum(partial, remote);
    await onDisk(path, partial.commit());
  } finally {
    clock.stop();
    await partial.close();
  }
}

interface Asking {
  fetch: typeof fetch;
  signal: AbortSignal;
}

async function ask(url: string, { done, remote }: PartialFile, { fetch, signal }: Asking): Promise<Response> {
  // A part is only gone on with where the server can say that the file is still the same.
  const from = remote?.url === url && remote.etag?.startsWith('"') && done > 0 ? done : undefined;
  const headers: Record<string, string> = { "accept-encoding": "identity" };
  if (from !== undefined) Object.assign(headers, { range: `bytes=${from}-`, "if-range": remote?.etag });
  const response = await fetch(url, { headers, signal }).catch((error: unknown) => {
    throw new Passing(reason(signal.aborted ? signal.reason : error));
  });
  // Some runtimes do not say where redirects led.
  if (url.startsWith("https:") && response.url !== "" && !response.url.startsWith("https:")) {
    throw new ZooError("redirects to an address that is not encrypted", { file: url });
  }
  if (response.ok || response.status === 416) return response;
  await response.body?.cancel();
  const { status } = response;
  if (status === 408 || status === 429 || status >= 500) {
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
    throw new Passing(
      `the server answers with status ${status}`,
      Number.isFinite(seconds) ? seconds * 1000 : undefined,
    );
  }
  const what = status === 404 ? "is not at the release" : "cannot be fetched";
  throw new ZooError(`${what}: the server answers with status ${status}`, { file: url });
}

function describe(url: string, { status, headers }: Response): RemoteFile {
  const length = headers.get(status === 206 ? "content-range" : "content-length");
  const size = length === null ? undefined : Number(/(\d+)$/.exec(length)?.[1] ?? Number.NaN);
  return {
    url,
    etag: headers.get("etag") ?? undefined,
    size: size !== undefined && Number.isSafeInteger(size) ? size : undefined,
    // Storage services give the checksum of the whole file, of a part only the first of these.
    md5: headers.get("x-ms-blob-content-md5") ?? (status === 200 ? headers.get("content-md5") : null) ?? undefined,
  };
}

function continues(partial: PartialFile, { status, headers }: Response, remote: RemoteFile): boolean {
  if (status !== 206) return false;
  const start = /^bytes (\d+)-/.exec(headers.get("content-range") ?? "")?.[1];
  if (Number(start) !== partial.done || partial.remote?.etag !== remote.etag) {
    throw new Passing("the server sends another part than was asked for");
  }
  return true;
}

async function* bodyOf(response: Response): AsyncGenerator<Uint8Array> {
  try {
    // The type of the library lacks the iterator that every runtime has.
    yield* (response.body ?? []) as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw new Passing(reason(error));
  }
}

async function expectChecksum(partial: PartialFile, remote: RemoteFile): Promise<void> {
  const md5 = partial.remote?.md5 ?? remote.md5;
  if (md5 === undefined || (await partial.md5()) === md5) return;
  await partial.restart(remote);
  throw new Passing("the checksum is not the one that the server gives");
}

async function onDisk<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new ZooError(`cannot be written: ${reason(error)}`, { file: path }, { cause: error });
  }
}

function gaveUp(url: string, { attempts, reason }: { attempts: number; reason: string }): ZooError {
  const advice = "what has come is kept, run it again to go on";
  return new ZooError(`cannot be fetched after ${attempts} tries (${reason}); ${advice}`, { file: url });
}
