// Downloads a released checkpoint into the zoo's folder. An interrupted download is resumed. The size, the version
// (ETag) and the checksum (MD5) are checked where the server states them. No token is sent, since releases are
// public.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { lockFile } from "../cache/lock.ts";
import { reason } from "../files/byte-source.ts";
import { delayBefore, type Patience, patienceOf, pause, stallClock } from "../request/context.ts";
import { PassingFailure, retryAfter } from "../request/failures.ts";
import { forget, openPartial, type PartialFile, type RemoteFile, wholeFile } from "./partial.ts";
import { type ZooEntry, ZooError } from "./releases.ts";

/** Options of a download. */
export interface FetchCheckpointOptions {
  /** target folder; created if needed */
  folder: string;
  /** address of the release, without a trailing slash */
  release: string;
  /** use only files that are already in the folder. Default false */
  offline?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** default: the runtime's own */
  fetch?: typeof fetch | undefined;
  /** timeouts and retries. Defaults: request/context.ts */
  patience?: Partial<Patience> | undefined;
}

/** The result of a download. */
export interface FetchedCheckpoint {
  kind: "fetched";
  path: string;
  size: number;
  from: "cache" | "release";
}

/** Progress of a download. */
export type ZooEvent =
  /** another process is downloading this file; this one waits */
  | { kind: "waiting"; file: string }
  /**
   * `bytes` arrived, `done` of `size` are there. `size` is undefined if the server does not state it; `bytes` is
   * negative when a partial download was discarded
   */
  | { kind: "progress"; file: string; bytes: number; done: number; size: number | undefined }
  | { kind: "retrying"; file: string; attempt: number; delayMs: number; reason: string }
  /** the last event */
  | FetchedCheckpoint;

/**
 * Downloads one checkpoint, or finds it in the folder.
 * @throws ZooError when the file does not exist, the server does not answer, the disk is full, or the content is not
 * what was announced
 */
export async function* fetchCheckpoint(
  { file }: ZooEntry,
  options: FetchCheckpointOptions,
): AsyncGenerator<ZooEvent, void> {
  const path = join(options.folder, file);
  const known = await wholeFile(path);
  if (known) return yield { kind: "fetched", path, size: known.size as number, from: "cache" };
  if (options.offline) throw new ZooError("is not in the cache, and downloads are not allowed offline", { file: path });
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
        if (!(error instanceof PassingFailure)) throw error;
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

/** Deletes a checkpoint that cannot be read, so that the next call downloads it again. */
export function forgetCheckpoint({ file }: ZooEntry, folder: string): Promise<void> {
  return forget(join(folder, file));
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
      // The last download was interrupted after its last byte.
      await expectChecksum(partial, known);
      return await onDisk(path, partial.commit());
    }
    const response = await ask(url, partial, { fetch: options.fetch ?? fetch, signal: clock.signal });
    const remote = describe(url, response);
    if (response.status === 416) {
      await partial.restart(remote);
      throw new PassingFailure("the partial download does not belong to the file");
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
        throw new PassingFailure(`more bytes arrived than the announced ${size}`);
      }
      await onDisk(path, partial.append(bytes));
      yield { kind: "progress", file, bytes: bytes.byteLength, done: partial.done, size };
    }
    if (size !== undefined && partial.done < size)
      throw new PassingFailure(`cut off after ${partial.done} of ${size} bytes`);
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
  // A partial download is resumed only if the server can confirm that the file is unchanged (a strong ETag).
  const from = remote?.url === url && remote.etag?.startsWith('"') && done > 0 ? done : undefined;
  const headers: Record<string, string> = { "accept-encoding": "identity" };
  if (from !== undefined) Object.assign(headers, { range: `bytes=${from}-`, "if-range": remote?.etag });
  const response = await fetch(url, { headers, signal }).catch((error: unknown) => {
    throw new PassingFailure(reason(signal.aborted ? signal.reason : error));
  });
  // Some runtimes do not report the address after redirects.
  if (url.startsWith("https:") && response.url !== "" && !response.url.startsWith("https:")) {
    throw new ZooError("redirects to an address that is not encrypted", { file: url });
  }
  if (response.ok || response.status === 416) return response;
  await response.body?.cancel();
  const { status } = response;
  if (status === 408 || status === 429 || status >= 500) {
    throw new PassingFailure(`the server answers with status ${status}`, retryAfter(response.headers));
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
    // x-ms-blob-content-md5 is always the checksum of the whole file; content-md5 is that of a part in a partial
    // answer.
    md5: headers.get("x-ms-blob-content-md5") ?? (status === 200 ? headers.get("content-md5") : null) ?? undefined,
  };
}

function continues(partial: PartialFile, { status, headers }: Response, remote: RemoteFile): boolean {
  if (status !== 206) return false;
  const start = /^bytes (\d+)-/.exec(headers.get("content-range") ?? "")?.[1];
  if (Number(start) !== partial.done || partial.remote?.etag !== remote.etag) {
    throw new PassingFailure("the server sends another part than the requested one");
  }
  return true;
}

async function* bodyOf(response: Response): AsyncGenerator<Uint8Array> {
  try {
    // The type lacks the async iterator that every runtime has.
    yield* (response.body ?? []) as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw new PassingFailure(reason(error));
  }
}

async function expectChecksum(partial: PartialFile, remote: RemoteFile): Promise<void> {
  const md5 = partial.remote?.md5 ?? remote.md5;
  if (md5 === undefined || (await partial.md5()) === md5) return;
  await partial.restart(remote);
  throw new PassingFailure("the checksum differs from the one that the server states");
}

async function onDisk<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new ZooError(`cannot be written: ${reason(error)}`, { file: path }, { cause: error });
  }
}

function gaveUp(url: string, { attempts, reason }: { attempts: number; reason: string }): ZooError {
  const advice = "downloaded bytes are kept, run it again to continue";
  return new ZooError(`cannot be fetched after ${attempts} attempts (${reason}); ${advice}`, { file: url });
}
