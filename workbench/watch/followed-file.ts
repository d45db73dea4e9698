// Follows a file of lines that another process appends to. Each look reads only what was appended since the last one. A
// file that was cut off, written anew or replaced is noticed, and read from its start.

import { Buffer } from "node:buffer";
import { type FileHandle, open } from "node:fs/promises";

/** What a look has found. */
export interface Look {
  /** whether the file is there */
  exists: boolean;
  /** whether what was read before is not in the file any more, so that all lines come again */
  restarted: boolean;
  /** new complete lines, without their ends */
  lines: string[];
  /** whether there is more to read at once */
  hasMore: boolean;
  /** time of the last change of the file, milliseconds since 1970 */
  written?: number;
}

/** bytes that one look reads at most */
const MOST_BYTES = 2 ** 20;
/** Bytes before the place of the last look that are read again, to see whether they are still the same. */
const COMPARED_BYTES = 256;
const LINE_END = 10;

/** A file that is followed. */
export class FollowedFile {
  readonly #path: string;
  readonly #mostBytes: number;
  /** where the next look begins, bytes */
  #offset = 0;
  #inode = 0;
  /** the bytes before the offset */
  #before: Buffer = Buffer.alloc(0);
  /** the start of a line whose end is not there yet */
  #incomplete: Buffer = Buffer.alloc(0);

  constructor(path: string, { mostBytes = MOST_BYTES } = {}) {
    this.#path = path;
    this.#mostBytes = mostBytes;
  }

  /** Reads what was appended. @throws Error if the file is there and cannot be read */
  async look(): Promise<Look> {
    const handle = await open(this.#path, "r").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
      throw error;
    });
    if (!handle) return { exists: false, restarted: this.#forget(), lines: [], hasMore: false };
    try {
      return await this.#lookAt(handle);
    } finally {
      await handle.close();
    }
  }

  async #lookAt(handle: FileHandle): Promise<Look> {
    const { size, ino, mtimeMs } = await handle.stat();
    const restarted = (await this.#isSame(handle, { size, ino })) ? false : this.#forget();
    this.#inode = ino;
    const chunk = await bytesAt(handle, this.#offset, Math.min(size - this.#offset, this.#mostBytes));
    this.#offset += chunk.length;
    this.#before = lastBytes(Buffer.concat([this.#before, chunk]), COMPARED_BYTES);
    const lines = this.#linesOf(chunk);
    return { exists: true, restarted, lines, hasMore: chunk.length > 0 && this.#offset < size, written: mtimeMs };
  }

  /** Whether the file still begins with what was read. A run that is resumed cuts off its end and may write it again. */
  async #isSame(handle: FileHandle, { size, ino }: { size: number; ino: number }): Promise<boolean> {
    if (this.#offset === 0) return true;
    if (ino !== this.#inode || size < this.#offset) return false;
    const { length } = this.#before;
    return this.#before.equals(await bytesAt(handle, this.#offset - length, length));
  }

  /** Begins again at the start. @returns whether something had been read */
  #forget(): boolean {
    const hadRead = this.#offset > 0;
    this.#offset = 0;
    this.#before = this.#incomplete = Buffer.alloc(0);
    return hadRead;
  }

  #linesOf(chunk: Buffer): string[] {
    const end = chunk.lastIndexOf(LINE_END);
    if (end < 0) {
      this.#incomplete = Buffer.concat([this.#incomplete, chunk]);
      return [];
    }
    const whole = Buffer.concat([this.#incomplete, chunk.subarray(0, end)]);
    this.#incomplete = Buffer.from(chunk.subarray(end + 1));
    return whole.toString("utf8").split("\n");
  }
}

/** @returns fewer bytes than asked for if the file ends before */
async function bytesAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

const lastBytes = (bytes: Buffer, most: number): Buffer =>
  Buffer.from(bytes.subarray(Math.max(0, bytes.length - most)));
