// Writes files atomically: a reader sees the old file or the new one, never a part. The bytes are written to a
// temporary file in the same folder, flushed to the disk, then renamed to the final path. Several files can be staged
// first and put in place together.

import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** A file that is written but not in place yet. */
export interface StagedFile {
  /** final path */
  readonly path: string;
  /** path of the temporary file until `commit`, in the same folder */
  readonly temporary: string;
  append(bytes: Uint8Array): Promise<void>;
  /** flushes the appended bytes to the disk; nothing can be appended afterwards */
  finish(): Promise<void>;
  /** renames the finished file to its final path */
  commit(): Promise<void>;
  /** removes the temporary file; does nothing after `commit` */
  discard(): Promise<void>;
}

/** Longest write, in bytes, that every operating system accepts in one call. */
const LONGEST_WRITE = 2 ** 30;

/**
 * Creates a temporary file in the folder of `path`. The caller must either finish and commit it, or discard it.
 * @throws the file system's error when the file cannot be created
 */
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
      // A short write is not reported as an error: a full disk returns one before it reports ENOSPC.
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

/**
 * Writes a whole file atomically. Meant for small files: the content is in memory.
 * @throws the file system's error
 */
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

/** Flushes a folder to the disk: a rename is durable only after this. Systems that cannot open folders are ignored. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}
