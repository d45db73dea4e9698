// The bytes behind tensors: a run of a legacy file, or an entry of a zip archive, stored or deflated, whose checksum is
// verified before any of its bytes is believed. Several tensors can view one storage. Knows no types and no shapes.

import { pipeline, Readable } from "node:stream";
import { crc32, createInflateRaw } from "node:zlib";
import { type ByteSource, chunksOf, type Fail } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import type { ZipArchive, ZipEntry } from "./zip.ts";

export interface Range {
  start: number;
  /** the byte after the last */
  end: number;
}

export interface Storage {
  readonly byteLength: number;
  /** the bytes of a range inside it, a few megabytes at a time */
  stream(range: Range): AsyncGenerator<Uint8Array>;
}

/** The bytes of a range in one array, in a buffer of their own. */
export async function readRange(storage: Storage, range: Range): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(range.end - range.start);
  let done = 0;
  for await (const piece of storage.stream(range)) {
    bytes.set(piece, done);
    done += piece.byteLength;
  }
  return bytes;
}

/** @param range of the file */
export function fileStorage(source: ByteSource, { start, end }: Range): Storage {
  return {
    byteLength: end - start,
    stream: (range) => chunksOf(source, { start: start + range.start, end: start + range.end }),
  };
}

export interface EntryOptions {
  source: ByteSource;
  archive: ZipArchive;
  fail: Fail;
}

export function entryStorage(entry: ZipEntry, { source, archive, fail }: EntryOptions): Storage {
  let verified = false;
  /** The whole content, checked at its end. */
  async function* whole(): AsyncGenerator<Uint8Array> {
    const start = await archive.locate(entry);
    const packed = chunksOf(source, { start, end: start + entry.packedSize });
    yield* checked(entry.method === "stored" ? packed : inflated(packed, { entry, fail }), { entry, fail });
    verified = true;
  }
  async function* stream({ start, end }: Range): AsyncGenerator<Uint8Array> {
    if (start === 0 && end === entry.size) return yield* whole();
    // A part says nothing about the checksum: the whole is read once, and kept by nobody.
    if (!verified) for await (const _ of whole());
    if (entry.method === "deflated") return yield* cut(whole(), { start, end });
    const first = await archive.locate(entry);
    yield* chunksOf(source, { start: first + start, end: first + end });
  }
  return { byteLength: entry.size, stream };
}

async function* checked(
  pieces: AsyncIterable<Uint8Array>,
  { entry: { name, size, crc }, fail }: { entry: ZipEntry; fail: Fail },
): AsyncGenerator<Uint8Array> {
  let done = 0;
  let found = 0;
  for await (const piece of pieces) {
    done += piece.byteLength;
    if (done > size) break;
    found = crc32(piece, found);
    yield piece;
  }
  if (done !== size) throw fail(`entry ${quote(name)} unpacks to ${done > size ? "more" : "fewer"} than ${size} bytes`);
  if (found !== crc) throw fail(`entry ${quote(name)} is damaged: its checksum is ${hex(found)}, not ${hex(crc)}`);
}

async function* inflated(
  packed: AsyncIterable<Uint8Array>,
  { entry, fail }: { entry: ZipEntry; fail: Fail },
): AsyncGenerator<Uint8Array> {
  const unpacked = pipeline(Readable.from(packed), createInflateRaw({ chunkSize: 2 ** 18 }), () => {});
  try {
    yield* unpacked as unknown as AsyncIterable<Uint8Array>;
  } catch (error) {
    if (!isZlibError(error)) throw error;
    throw fail(`entry ${quote(entry.name)} cannot be unpacked: ${(error as Error).message}`, { cause: error });
  }
}

function isZlibError(error: unknown): boolean {
  return String((error as { code?: unknown }).code).startsWith("Z_");
}

async function* cut(pieces: AsyncIterable<Uint8Array>, { start, end }: Range): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const piece of pieces) {
    const part = piece.subarray(Math.max(0, start - at), Math.max(0, end - at));
    if (part.byteLength > 0) yield part;
    at += piece.byteLength;
    if (at >= end) return;
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
