// Bytes that are read by position: a file, or an array in memory. A read costs its own bytes, whatever the size of the
// whole. Nothing here knows a format; the format gives the error that a source throws.

import { type FileHandle, open } from "node:fs/promises";

/** Makes the error of the format that reads the source, from a clause such as `cannot be opened: no such file`. */
export type Fail = (problem: string, options?: ErrorOptions) => Error;

export interface ByteSource {
  /** bytes in all */
  readonly size: number;
  /**
   * `length` bytes from `start`, in a buffer of their own.
   * @throws what `Fail` makes when the source ends before
   */
  read(start: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** Bytes that `chunksOf` reads at a time, and that a stream of a tensor holds. */
export const CHUNK_BYTES = 4 * 2 ** 20;

/** Longest read that every system takes in one call. */
const LONGEST_READ = 2 ** 30;

/** @throws what `fail` makes when there is no such file, it is a folder, or a Git LFS pointer stands in its place */
export async function openFile(path: string, fail: Fail): Promise<ByteSource> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    const status = await handle.stat();
    if (!status.isFile()) throw new Error("it is not a file");
    const source = fileSource(handle, status.size, fail);
    if (!(await isPointer(source))) return source;
  } catch (error) {
    await handle?.close();
    throw fail(`cannot be opened: ${reason(error)}`, { cause: error });
  }
  await handle.close();
  throw fail(POINTER_PROBLEM);
}

async function isPointer({ size, read }: ByteSource): Promise<boolean> {
  return size < LONGEST_POINTER && isLfsPointer(await read(0, size));
}

function fileSource(handle: FileHandle, size: number, fail: Fail): ByteSource {
  const read = async (start: number, length: number) => {
    const bytes = allocate(length, fail);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await handle
        .read(bytes, done, Math.min(length - done, LONGEST_READ), start + done)
        .catch((error: unknown) => {
          throw fail(`cannot be read: ${reason(error)}`, { cause: error });
        });
      if (bytesRead === 0) throw fail(`ends at byte ${start + done}; it was ${size} bytes long when it was opened`);
      done += bytesRead;
    }
    return bytes;
  };
  return { size, read, close: () => handle.close() };
}

export function memorySource(bytes: Uint8Array, fail: Fail): ByteSource {
  const read = async (start: number, length: number) => {
    if (start + length > bytes.byteLength) throw fail(`ends at byte ${bytes.byteLength}`);
    return Uint8Array.from(bytes.subarray(start, start + length));
  };
  return { size: bytes.byteLength, read, close: async () => {} };
}

/** The bytes from `start` to `end`, a few megabytes at a time. */
export async function* chunksOf(
  source: ByteSource,
  { start, end }: { start: number; end: number },
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = start; at < end; at += CHUNK_BYTES) {
    yield await source.read(at, Math.min(CHUNK_BYTES, end - at));
  }
}

function allocate(length: number, fail: Fail): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (error) {
    throw fail(`${length} bytes do not fit in memory`, { cause: error });
  }
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ["ENOENT", "no such file"],
  ["EACCES", "permission denied"],
  ["EISDIR", "it is not a file"],
  ["EEXIST", "a file is there"],
  ["ENOTDIR", "part of its path is a file"],
  ["ENOSPC", "the disk is full"],
  ["EROFS", "the file system is read-only"],
]);

/** Why a file operation failed, as a clause. */
export function reason(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  const known = REASONS.get(String(code));
  if (known !== undefined) return known;
  return error instanceof Error ? error.message : String(error);
}

const START = new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n");

/** Bytes; the specification of pointers allows less. */
export const LONGEST_POINTER = 1024;

export const POINTER_PROBLEM =
  "is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, or fetch it with `gblr pull`";

/** @param bytes of a whole file */
export function isLfsPointer(bytes: Uint8Array): boolean {
  return bytes.length < LONGEST_POINTER && START.every((byte, i) => bytes[i] === byte);
}
