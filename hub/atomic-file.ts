// Files that are either there whole or not at all: written beside their place, flushed to the disk, then renamed over
// it. Several can be staged and put in place together. What the bytes mean is the caller's business.

import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

export type WriteBytes = (bytes: Uint8Array) => Promise<void>;

export interface StagedFile {
  /** puts the file in its place */
  commit(): Promise<void>;
  /** removes what was written */
  discard(): Promise<void>;
}

/**
 * Writes a temporary file in the folder of `path`, flushed to the disk; nothing stays behind when `write` throws.
 * @param write is given a function that appends
 */
export async function stageFile(path: string, write: (append: WriteBytes) => Promise<void>): Promise<StagedFile> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  const handle = await open(temporary, "wx");
  try {
    await write(async (bytes) => {
      // A short write is no error to the system: a disk filling up gives one before it gives ENOSPC.
      let done = 0;
      while (done < bytes.byteLength) {
        done += (await handle.write(bytes, done, bytes.byteLength - done)).bytesWritten;
      }
    });
    await handle.sync();
    await handle.close();
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
  return {
    commit: async () => {
      await rename(temporary, path);
      await syncFolder(dirname(path));
    },
    discard: () => rm(temporary, { force: true }),
  };
}

/** Stages one file and puts it in its place. */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const staged = await stageFile(path, (append) => append(bytes));
  await commitAll([staged]);
}

/** Puts every file in its place, in order; on an error the rest is discarded. */
export async function commitAll(files: readonly StagedFile[]): Promise<void> {
  try {
    for (const file of files) await file.commit();
  } catch (error) {
    await Promise.all(files.map((file) => file.discard()));
    throw error;
  }
}

/** A rename is on the disk only once its folder is. Some systems cannot open a folder; there it is theirs to keep. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}
