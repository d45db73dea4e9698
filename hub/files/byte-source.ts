// Random access to the bytes of a file or of an array in memory. A read transfers only the requested bytes. The code
// does not depend on a file format: the caller passes `fail`, which makes the error of its own format. Files that are
// Git LFS pointers (git-lfs.com, specification of pointer files) are reported as such, because each format would
// otherwise report a different, misleading error.

import { type FileHandle, open } from "node:fs/promises";

/** Makes the error to throw, from a clause such as `cannot be opened: no such file`. */
export type Fail = (problem: string, options?: ErrorOptions) => Error;

/** Bytes that can be read at any position. The caller closes it. */
export interface ByteSource {
  /** size in bytes */
  readonly size: number;
  /**
   * Reads `length` bytes from byte `start`.
   * @param buffer memory of at least `length` bytes, which local files and arrays use instead of new memory. The result
   * is then a view of it
   * @throws the error made by `Fail` when the source has fewer bytes
   */
  read(start: number, length: number, buffer?: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** Number of bytes that `chunksOf` reads at a time. A multiple of every number type's size. */
export const CHUNK_BYTES = 4 * 2 ** 20;

/** Longest read, in bytes, that every operating system accepts in one call. */
const LONGEST_READ = 2 ** 30;

/**
 * Opens a file for reading; the caller closes it.
 * @throws the error made by `fail` when the file does not exist, is a folder, or is a Git LFS pointer
 */
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
  const read = async (start: number, length: number, buffer?: Uint8Array<ArrayBuffer>) => {
    const bytes = buffer?.subarray(0, length) ?? allocate(length, fail);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await handle
        .read(bytes, done, Math.min(length - done, LONGEST_READ), start + done)
        .catch((error: unknown) => {
          throw fail(`cannot be read: ${reason(error)}`, { cause: error });
        });
      if (bytesRead === 0) throw fail(`ends at byte ${start + done}; it had ${size} bytes when it was opened`);
      done += bytesRead;
    }
    return bytes;
  };
  return { size, read, close: () => handle.close() };
}

/** A source over bytes in memory. */
export function memorySource(bytes: Uint8Array, fail: Fail): ByteSource {
  const read = async (start: number, length: number, buffer?: Uint8Array<ArrayBuffer>) => {
    if (start + length > bytes.byteLength) throw fail(`ends at byte ${bytes.byteLength}`);
    const wanted = bytes.subarray(start, start + length);
    if (!buffer) return Uint8Array.from(wanted);
    buffer.set(wanted);
    return buffer.subarray(0, length);
  };
  return { size: bytes.byteLength, read, close: async () => {} };
}

/** A range of the bytes of a source. */
export interface ByteRange {
  start: number;
  /** exclusive */
  end: number;
}

/**
 * Yields the bytes from `start` to `end` in chunks of `CHUNK_BYTES`.
 * @param buffer memory of `CHUNK_BYTES` bytes for the chunks, each of which is then valid until the next one. Default:
 * new memory for each chunk
 */
export async function* chunksOf(
  source: ByteSource,
  { start, end }: ByteRange,
  buffer?: Uint8Array<ArrayBuffer>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = start; at < end; at += CHUNK_BYTES) {
    yield await source.read(at, Math.min(CHUNK_BYTES, end - at), buffer);
  }
}

/** Yields the bytes of a stream that lie within a range. */
export async function* within(
  stream: AsyncIterable<Uint8Array>,
  { start, end }: ByteRange,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const chunk of stream) {
    const part = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    if (part.byteLength > 0) yield part;
    at += chunk.byteLength;
    if (at >= end) return;
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

/** Describes why a file operation failed, as a clause for a message. */
export function reason(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  const known = REASONS.get(String(code));
  if (known !== undefined) return known;
  return error instanceof Error ? error.message : String(error);
}

const START = new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n");

/** Files of this many bytes or more are not taken for pointers. The specification requires fewer than 1024 bytes. */
const LONGEST_POINTER = 1024;

/** The message about a pointer, as a clause. */
export const POINTER_PROBLEM =
  "is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, or fetch it with `gblr pull`";

/**
 * Whether a file is a Git LFS pointer.
 * @param bytes the whole file
 */
export function isLfsPointer(bytes: Uint8Array): boolean {
  return bytes.length < LONGEST_POINTER && START.every((byte, i) => bytes[i] === byte);
}
