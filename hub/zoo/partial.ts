// A download that can be broken off: what has come so far, and beside it which version of the file it is a part of. It
// becomes the file itself only when it is whole. What is fetched, and from where, is not known here.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, readFile, rename, rm, stat } from "node:fs/promises";
import { writeFileAtomically } from "../files/atomic-file.ts";

/** What a server says of a file, as far as it does. */
export interface RemoteFile {
  url: string;
  etag?: string | undefined;
  size?: number | undefined;
  /** MD5, in base64 */
  md5?: string | undefined;
}

export interface PartialFile {
  /** bytes that are there */
  readonly done: number;
  readonly remote: RemoteFile | undefined;
  /** begins anew, as a part of this file */
  restart(remote: RemoteFile): Promise<void>;
  append(bytes: Uint8Array): Promise<void>;
  /** MD5 of what is there, in base64 */
  md5(): Promise<string>;
  /** puts it in its place */
  commit(): Promise<void>;
  /** lets go of it and keeps what has come */
  close(): Promise<void>;
}

const recordOf = (path: string): string => `${path}.json`;

/** @param path where the file will be when it is whole, in a folder that is there */
export async function openPartial(path: string): Promise<PartialFile> {
  const part = `${path}.part`;
  let remote = await readRecord(part);
  // Without a record nobody can tell which file this is a part of.
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

/** A file that came whole: it is as long as its record says. */
export async function wholeFile(path: string): Promise<RemoteFile | undefined> {
  const [record, status] = await Promise.all([readRecord(path), stat(path).catch(() => undefined)]);
  return record && status?.isFile() && status.size === record.size ? record : undefined;
}

/** Removes a file, whole or in part, and what is known of it. */
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
