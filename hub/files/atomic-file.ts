// Files that are either there whole or not at all: written beside their place, flushed to the disk, then renamed over
// it. Several can be staged and put in place together. What the bytes mean is the caller's business.

import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

export interface StagedFile {
  /** where the file will be */
  readonly path: string;
  /** where it is before, in the same folder */
  readonly temporary: string;
  append(bytes: Uint8Array): Promise<void>;
  /** flushes what was appended to the disk; nothing can be appended after */
  finish(): Promise<void>;
  /** puts a finished file in its place */
  commit(): Promise<void>;
  /** removes what was written, unless it is in its place */
  discard(): Promise<void>;
}

/** Longest write that every system takes in one call. */
const LONGEST_WRITE = 2 ** 30;

/** Begins a temporary file in the folder of `path`. Finish and commit it, or discard it. */
export async function stageFile(path: string): Promise<StagedFile> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  let handle: FileHandle | undefined = await open(temporary, "wx");
  const close = async () => {
    const closing = handle;
    handle = undefined;
    await closing?.close();
  };
  return {
    path,
    temporary,
    append: async (bytes) => {
      // A short write is no error to the system: a disk filling up gives one before it says that it is full.
      for (let done = 0; done < bytes.byteLength; ) {
        const length = Math.min(bytes.byteLength - done, LONGEST_WRITE);
        done += (await (handle as FileHandle).write(bytes, done, length)).bytesWritten;
      }
    },
    finish: async () => {
      await (handle as FileHandle).sync();
      await close();
    },
    commit: async () => {
      await rename(temporary, path);
      await syncFolder(dirname(path));
    },
    discard: async () => {
      await close().catch(() => {});
      await rm(temporary, { force: true });
    },
  };
}

/** Writes a small file whole. */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const staged = await stageFile(path);
  try {
    await staged.append(typeof content === "string" ? new TextEncoder().encode(content) : content);
    await staged.finish();
    await staged.commit();
  } finally {
    await staged.discard();
  }
}

/** A rename is on the disk only once its folder is. Some systems cannot open a folder; there it is theirs to keep. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}
