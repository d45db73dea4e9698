// A blob that is being downloaded: the file `<hash>.incomplete`, and the running hash of its content.

import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { blobName, type RepoFile } from "../cache/listing.ts";
import { incompletePath, sizeOf } from "../cache/snapshot.ts";

const READ_BYTES = 4 * 2 ** 20;

/** One incomplete blob on the disk. Its methods throw the file system's errors. */
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

  /**
   * Opens a partial download or starts one. Bytes that any program left there are used.
   * @param blob path of the complete blob
   */
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

  /** number of bytes stored so far */
  get done(): number {
    return this.#done;
  }

  /** Writes bytes at the end and adds them to the hash. */
  async append(bytes: Uint8Array): Promise<void> {
    // The position is explicit, so that two processes that download the same blob write the same bytes to each position.
    for (let at = 0; at < bytes.byteLength; ) {
      at += (await this.#handle.write(bytes, at, bytes.byteLength - at, this.#done + at)).bytesWritten;
    }
    this.#hash.update(bytes);
    this.#done += bytes.byteLength;
  }

  /** Discards the bytes and starts with a new file. A process that has the old file open keeps it. */
  async restart(): Promise<void> {
    await this.close();
    const path = incompletePath(this.#blob);
    await rm(path, { force: true });
    this.#handle = await open(path, "w+");
    this.#hash = startHash(this.file);
    this.#done = 0;
  }

  /** Hash of the content in hexadecimal. It can be called once. */
  digest(): string {
    return this.#hash.digest("hex");
  }

  /** Renames a verified blob to its final path. */
  async finish(): Promise<void> {
    await this.#handle.sync();
    await this.close();
    await rename(incompletePath(this.#blob), this.#blob).catch(async (error: unknown) => {
      // Without working locks, another process may have created the blob in the meantime.
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

/**
 * Starts the hash that is the name of the blob: the SHA-256 of a large file, or git's hash of a small one, which
 * includes a header.
 */
function startHash(file: RepoFile): Hash {
  const length = blobName(file).length;
  const hash = createHash(length === 64 ? "sha256" : "sha1");
  return file.sha256 === undefined ? hash.update(`blob ${file.size}\0`) : hash;
}
