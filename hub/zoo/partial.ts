// A download that can be interrupted: `<file>.part` has the bytes so far, and `<file>.part.json` states the file and
// the version that they belong to. A complete download is renamed to `<file>`. Nothing here uses the network.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, readFile, rename, rm, stat } from "node:fs/promises";
import { writeFileAtomically } from "../files/atomic-file.ts";

/** What the server states about a file. */
export interface RemoteFile {
  url: string;
  etag?: string | undefined;
  size?: number | undefined;
  /** MD5 in base64 */
  md5?: string | undefined;
}

/** An open partial download. Its methods throw the file system's errors. */
export interface PartialFile {
  /** number of bytes stored so far */
  readonly done: number;
  readonly remote: RemoteFile | undefined;
  /** discards the bytes and starts again, for this file */
  restart(remote: RemoteFile): Promise<void>;
  append(bytes: Uint8Array): Promise<void>;
  /** MD5 of the stored bytes, in base64 */
  md5(): Promise<string>;
  /** renames the complete file to its final path */
  commit(): Promise<void>;
  /** closes the file and keeps the bytes */
  close(): Promise<void>;
}

const recordOf = (path: string): string => `${path}.json`;

/**
 * Opens or creates a partial download.
 * @param path final path of the file; its folder must exist
 */
export async function openPartial(path: string): Promise<PartialFile> {
  const part = `${path}.part`;
  let remote = await readRecord(part);
  // Without a record, the version that the bytes belong to is unknown: start again.
  let handle: FileHandle | undefined = await open(part, remote ? "a" : "w");
  let done = (await handle.stat()).size;
  const close = async () => {
    const closing = handle;
    handle = undefined;
    await closing?.close();
  };
  return {
    get done() {
      return done;
    },
    get remote() {
      return remote;
    },
    async restart(to) {
      await (handle as FileHandle).truncate(0);
      done = 0;
      await writeRecord(part, to);
      remote = to;
    },
    async append(bytes) {
      for (let at = 0; at < bytes.byteLength; ) {
        const { bytesWritten } = await (handle as FileHandle).write(bytes, at, bytes.byteLength - at);
        at += bytesWritten;
        done += bytesWritten;
      }
    },
    md5: () => md5Of(part),
    async commit() {
      await (handle as FileHandle).sync();
      await close();
      await writeRecord(path, { ...(remote as RemoteFile), size: done });
      await rename(part, path);
      await rm(recordOf(part), { force: true });
    },
    close,
  };
}

/** Reads the record of a complete file. Undefined unless the file exists and has the size that its record states. */
export async function wholeFile(path: string): Promise<RemoteFile | undefined> {
  const [record, status] = await Promise.all([readRecord(path), stat(path).catch(() => undefined)]);
  return record && status?.isFile() && status.size === record.size ? record : undefined;
}

/** Deletes a file, its partial download and their records. */
export async function forget(path: string): Promise<void> {
  for (const name of [path, `${path}.part`]) {
    await rm(name, { force: true });
    await rm(recordOf(name), { force: true });
  }
}

async function readRecord(path: string): Promise<RemoteFile | undefined> {
  const text = await readFile(recordOf(path), "utf8").catch(() => "");
  try {
    const record = JSON.parse(text) as Record<string, unknown>;
    const { url, etag, size, md5 } = record;
    if (typeof url !== "string") return undefined;
    const textOf = (value: unknown) => (typeof value === "string" ? value : undefined);
    return { url, etag: textOf(etag), size: typeof size === "number" ? size : undefined, md5: textOf(md5) };
  } catch {
    return undefined;
  }
}

async function writeRecord(path: string, record: RemoteFile): Promise<void> {
  await writeFileAtomically(recordOf(path), `${JSON.stringify(record, null, 2)}\n`);
}

async function md5Of(path: string): Promise<string> {
  const hash = createHash("md5");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("base64");
}
