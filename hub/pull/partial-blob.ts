// A blob that is being fetched: the file `<hash>.incomplete`, and the hash of what is in it so far. Knows where to go
// on, and whether the whole is what was announced; fetches nothing.

import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { blobName, type RepoFile } from "../cache/listing.ts";
import { incompletePath, sizeOf } from "../cache/snapshot.ts";

const READ_BYTES = 4 * 2 ** 20;

export class PartialBlob {
  readonly file: RepoFile;
  readonly #blob: string;
  #handle: FileHandle;
  #hash: Hash;
  #done = 0;

  private constructor(file: RepoFile, blob: string, handle: FileHandle) {
    this.file = file;
    this.#blob = blob;
    this.#handle = handle;
    this.#hash = startHash(file);
  }

  /** Goes on with what is there from before, whoever wrote it. @param blob where the file goes once it is whole */
  static async open(file: RepoFile, blob: string): Promise<PartialBlob> {
    const path = incompletePath(blob);
    const there = await open(path, "r+").catch(() => undefined);
    const partial = new PartialBlob(file, blob, there ?? (await open(path, "w+")));
    try {
      const { size } = await partial.#handle.stat();
      if (size > file.size) await partial.restart();
      else await partial.#hashFirst(size);
      return partial;
    } catch (error) {
      await partial.close();
      throw error;
    }
  }

  /** bytes that are there */
  get done(): number {
    return this.#done;
  }

  async append(bytes: Uint8Array): Promise<void> {
    // At its own place, never "at the end": should another process write too, both write the same.
    for (let at = 0; at < bytes.byteLength; ) {
      at += (await this.#handle.write(bytes, at, bytes.byteLength - at, this.#done + at)).bytesWritten;
    }
    this.#hash.update(bytes);
    this.#done += bytes.byteLength;
  }

  /** Throws away what is there. A new file: one that another process has open is left to it. */
  async restart(): Promise<void> {
    await this.close();
    const path = incompletePath(this.#blob);
    await rm(path, { force: true });
    this.#handle = await open(path, "w+");
    this.#hash = startHash(this.file);
    this.#done = 0;
  }

  /** Hash of a whole file in hexadecimal; it can be taken once. */
  digest(): string {
    return this.#hash.digest("hex");
  }

  /** Puts a verified blob in its place. */
  async finish(): Promise<void> {
    await this.#handle.sync();
    await this.close();
    await rename(incompletePath(this.#blob), this.#blob).catch(async (error: unknown) => {
      // Where locks do not hold, another process may have put it there meanwhile.
      if ((await sizeOf(this.#blob)) !== this.file.size) throw error;
    });
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => {});
  }

  async #hashFirst(size: number): Promise<void> {
    const buffer = new Uint8Array(Math.min(size, READ_BYTES));
    while (this.#done < size) {
      const { bytesRead } = await this.#handle.read(buffer, 0, Math.min(buffer.length, size - this.#done), this.#done);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#done += bytesRead;
    }
  }
}

/** Large files are called by the SHA-256 of their content, small ones as git calls them, with a header before. */
function startHash(file: RepoFile): Hash {
  const length = blobName(file).length;
  const hash = createHash(length === 64 ? "sha256" : "sha1");
  return file.sha256 === undefined ? hash.update(`blob ${file.size}\0`) : hash;
}
