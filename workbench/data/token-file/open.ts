// Reads files of token ids: through a memory map where the runtime has one, else by position. Checks a file whole when it
// is opened, since a training run on damaged ids would go on for hours.

import { crc32 } from "node:zlib";
import { type ByteSource, openFile } from "../../../hub/files/byte-source.ts";
import { versionProblem } from "../../../hub/text/json.ts";
import { DataError } from "../errors.ts";
import type { TokenFile } from "../types.ts";
import { FORMAT_VERSION, footerLength, parseFooter, type TokenFileFooter, TRAILER_BYTES } from "./footer.ts";

/** Ids checked at a time, in bytes. */
const CHECKED_BYTES = 2 ** 24;

/**
 * @param options.map use a memory map if the runtime has one. Default true
 * @throws DataError when there is no such file, or it is damaged
 */
export async function openTokenFile(path: string, { map = true }: { map?: boolean } = {}): Promise<TokenFile> {
  const mapped = map ? mapFile(path) : undefined;
  const source = mapped
    ? viewOf(mapped)
    : await openFile(path, (problem, options) => new DataError(path, problem, options));
  try {
    const footer = await readFooter(source);
    if (!footer)
      throw new DataError(path, "is no file of token ids, or a damaged one; remove it to have it made again");
    if ("otherVersion" in footer) {
      throw new DataError(path, `format ${versionProblem(FORMAT_VERSION, footer.otherVersion)}, or remove the file`);
    }
    const counts = { rows: footer.rows, words: footer.words, bytes: footer.bytes };
    const { length, vocabSize } = footer;
    return { path, length, vocabSize, counts, read: reader(source, footer, path), close: () => source.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function reader(source: ByteSource, { width, length }: TokenFileFooter, path: string): TokenFile["read"] {
  return async (start, count) => {
    if (!(Number.isInteger(start) && Number.isInteger(count) && start >= 0 && count >= 0 && start + count <= length)) {
      throw new RangeError(`${path}: ids ${start} to ${start + count} are outside its ${length}`);
    }
    const { buffer, byteOffset } = await source.read(start * width, count * width);
    return Int32Array.from(
      width === 2 ? new Uint16Array(buffer, byteOffset, count) : new Uint32Array(buffer, byteOffset, count),
    );
  };
}

/** @returns nothing where any part of the file is damaged */
async function readFooter(source: ByteSource): Promise<ReturnType<typeof parseFooter>> {
  if (source.size < TRAILER_BYTES) return undefined;
  const jsonLength = footerLength(await source.read(source.size - TRAILER_BYTES, TRAILER_BYTES));
  if (jsonLength === undefined || jsonLength + TRAILER_BYTES > source.size) return undefined;
  const end = source.size - TRAILER_BYTES - jsonLength;
  const footer = parseFooter(await source.read(end, jsonLength));
  if (footer && "otherVersion" in footer) return footer;
  if (!footer || footer.length * footer.width !== end) return undefined;
  return (await checksum(source, end)) === footer.crc32 ? footer : undefined;
}

async function checksum(source: ByteSource, end: number): Promise<number> {
  let sum = 0;
  for (let at = 0; at < end; at += CHECKED_BYTES)
    sum = crc32(await source.read(at, Math.min(CHECKED_BYTES, end - at)), sum);
  return sum;
}

/** Bytes of a map, not copied: what is read from it must be copied before it is handed on. */
function viewOf(bytes: Uint8Array<ArrayBuffer>): ByteSource {
  let held: Uint8Array<ArrayBuffer> | undefined = bytes;
  const read = async (start: number, length: number) => {
    if (!held) throw new RangeError("the file of token ids is closed");
    return held.subarray(start, start + length);
  };
  // The map goes with the last view of it.
  const close = async () => {
    held = undefined;
  };
  return { size: bytes.byteLength, read, close };
}

interface MappingRuntime {
  Bun?: { mmap?: (path: string) => Uint8Array<ArrayBuffer> };
}

function mapFile(path: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return (globalThis as MappingRuntime).Bun?.mmap?.(path);
  } catch {
    // A file that cannot be mapped, such as one on a read-only disk, may still be read.
    return undefined;
  }
}
