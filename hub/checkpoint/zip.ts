// Reads the directory of a zip archive, including zip64 (PKWARE's APPNOTE.TXT): the end record, the central
// directory, and the local header of an entry when it is needed. storage.ts reads the contents.

import type { ByteSource, Fail } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";

/** An entry of the central directory. */
export interface ZipEntry {
  name: string;
  method: "stored" | "deflated";
  /** CRC-32 of the content */
  crc: number;
  /** compressed size in bytes */
  packedSize: number;
  /** uncompressed size in bytes */
  size: number;
  /** position of the local header, in bytes */
  header: number;
}

/** An archive whose directory was read. */
export interface ZipArchive {
  entries: ReadonlyMap<string, ZipEntry>;
  /** Finds the first byte of an entry's compressed content. */
  locate(entry: ZipEntry): Promise<number>;
}

const END = { signature: 0x06054b50, bytes: 22 };
const END_64 = { signature: 0x06064b50, bytes: 56 };
const LOCATOR_64 = { signature: 0x07064b50, bytes: 20 };
const CENTRAL = { signature: 0x02014b50, bytes: 46 };
const LOCAL = { signature: 0x04034b50, bytes: 30 };
const LONGEST_COMMENT = 0xffff;
/** Largest central directory, in bytes. Half a million entries fit; no model has that many. */
const MAX_DIRECTORY_BYTES = 2 ** 26;
/** Largest ratio of uncompressed to compressed size that deflate can reach. */
const MAX_RATIO = 1032;

/** Whether a file starts with the signature of a zip archive. */
export function beginsLikeZip(bytes: Uint8Array): boolean {
  if (bytes.length < 4) return false;
  const signature = viewOf(bytes).getUint32(0, true);
  return signature === LOCAL.signature || signature === END.signature; // an empty archive has only the end record
}

/**
 * Reads the directory of an archive.
 * @throws the error made by `fail` when the archive is cut off or damaged
 */
export async function openZip(source: ByteSource, fail: Fail): Promise<ZipArchive> {
  const end = await findEnd(source, fail);
  if (end.size > MAX_DIRECTORY_BYTES || end.start + end.size > end.limit) {
    throw fail("zip archive: the central directory lies outside the file");
  }
  const entries = parseDirectory(await source.read(end.start, end.size), { count: end.count, fail });
  for (const entry of entries.values()) checkEntry(entry, { limit: end.start, fail });
  return { entries, locate: (entry) => locate(entry, { source, limit: end.start, fail }) };
}

interface Directory {
  start: number;
  size: number;
  count: number;
  /** start of the records that follow the directory */
  limit: number;
}

async function findEnd(source: ByteSource, fail: Fail): Promise<Directory> {
  const length = Math.min(source.size, END.bytes + LONGEST_COMMENT);
  const tail = await source.read(source.size - length, length);
  const view = viewOf(tail);
  for (let at = length - END.bytes; at >= 0; at--) {
    if (view.getUint32(at, true) !== END.signature) continue;
    if (at + END.bytes + view.getUint16(at + 20, true) !== length) continue; // the comment must end where the file ends
    const limit = source.size - length + at;
    const directory = {
      count: view.getUint16(at + 10, true),
      size: view.getUint32(at + 12, true),
      start: view.getUint32(at + 16, true),
      limit,
    };
    return (await findEnd64(source, { limit, fail })) ?? directory;
  }
  throw fail("starts like a zip archive but does not end like one: it is cut off, or another kind of file");
}

/** The 64-bit end record, if a locator in front of the 32-bit record points to one. */
async function findEnd64(
  source: ByteSource,
  { limit, fail }: { limit: number; fail: Fail },
): Promise<Directory | undefined> {
  if (limit < LOCATOR_64.bytes) return undefined;
  const locator = viewOf(await source.read(limit - LOCATOR_64.bytes, LOCATOR_64.bytes));
  if (locator.getUint32(0, true) !== LOCATOR_64.signature) return undefined;
  const at = Number(locator.getBigUint64(8, true));
  if (at + END_64.bytes > limit - LOCATOR_64.bytes) throw fail("zip archive: its 64-bit end lies outside the file");
  const end = viewOf(await source.read(at, END_64.bytes));
  if (end.getUint32(0, true) !== END_64.signature) throw fail("zip archive: its 64-bit end is not where it should be");
  return {
    count: Number(end.getBigUint64(32, true)),
    size: Number(end.getBigUint64(40, true)),
    start: Number(end.getBigUint64(48, true)),
    limit: at,
  };
}

function parseDirectory(bytes: Uint8Array, { count, fail }: { count: number; fail: Fail }): Map<string, ZipEntry> {
  const view = viewOf(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  while (at < bytes.length) {
    if (at + CENTRAL.bytes > bytes.length || view.getUint32(at, true) !== CENTRAL.signature) {
      throw fail("zip archive: the central directory is damaged");
    }
    const nameEnd = at + CENTRAL.bytes + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const next = extraEnd + view.getUint16(at + 32, true);
    if (next > bytes.length) throw fail("zip archive: the central directory is damaged");
    const name = new TextDecoder().decode(bytes.subarray(at + CENTRAL.bytes, nameEnd));
    if (entries.has(name)) throw fail(`zip archive: two entries are named ${quote(name)}`);
    const fixed = bytes.subarray(at, at + CENTRAL.bytes);
    entries.set(name, parseEntry(fixed, { name, extra: bytes.subarray(nameEnd, extraEnd), fail }));
    at = next;
  }
  if (entries.size !== count) throw fail(`zip archive: ${entries.size} entries, where its end says ${count}`);
  return entries;
}

function parseEntry(
  fixed: Uint8Array,
  { name, extra, fail }: { name: string; extra: Uint8Array; fail: Fail },
): ZipEntry {
  const view = viewOf(fixed);
  const methodNumber = view.getUint16(10, true);
  if (view.getUint16(8, true) & 1) throw fail(`zip archive: entry ${quote(name)} is encrypted`);
  if (methodNumber !== 0 && methodNumber !== 8) {
    throw fail(`zip archive: entry ${quote(name)} is packed by method ${methodNumber}, neither stored nor deflated`);
  }
  // A 32-bit field whose value does not fit has all bits set. The extra field then has the 64-bit values, in the order
  // size, compressed size, position of the header.
  const wide = wideValues(extra);
  const value = (offset: number) => {
    const narrow = view.getUint32(offset, true);
    if (narrow !== 0xffffffff) return narrow;
    const next = wide.next();
    if (next.done) throw fail(`zip archive: entry ${quote(name)} has no 64-bit sizes`);
    return next.value;
  };
  const size = value(24);
  const packedSize = value(20);
  const header = value(42);
  return {
    name,
    method: methodNumber === 0 ? "stored" : "deflated",
    crc: view.getUint32(16, true),
    packedSize,
    size,
    header,
  };
}

/** Yields the 64-bit values of an entry's zip64 extra field. */
function* wideValues(extra: Uint8Array): Generator<number> {
  const view = viewOf(extra);
  for (let at = 0; at + 4 <= extra.length; ) {
    const end = at + 4 + view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === 1) {
      for (let field = at + 4; field + 8 <= Math.min(end, extra.length); field += 8) {
        yield Number(view.getBigUint64(field, true));
      }
      return;
    }
    at = end;
  }
}

function checkEntry(entry: ZipEntry, { limit, fail }: { limit: number; fail: Fail }): void {
  const { name, method, packedSize, size } = entry;
  if (method === "stored" && packedSize !== size) {
    throw fail(`zip archive: entry ${quote(name)} is stored in ${packedSize} bytes, but is ${size} bytes long`);
  }
  if (method === "deflated" && size > packedSize * MAX_RATIO) {
    throw fail(`zip archive: entry ${quote(name)} cannot unpack ${packedSize} bytes to ${size}`);
  }
  if (entry.header + LOCAL.bytes + packedSize > limit) {
    throw fail(`zip archive: entry ${quote(name)} lies outside the file`);
  }
}

async function locate(
  { name, header, packedSize }: ZipEntry,
  { source, limit, fail }: { source: ByteSource; limit: number; fail: Fail },
): Promise<number> {
  const view = viewOf(await source.read(header, LOCAL.bytes));
  if (view.getUint32(0, true) !== LOCAL.signature) {
    throw fail(`zip archive: entry ${quote(name)} is not where the central directory says`);
  }
  // The local extra field differs from the directory's: PyTorch pads it to align the tensors.
  const start = header + LOCAL.bytes + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + packedSize > limit) throw fail(`zip archive: entry ${quote(name)} lies outside the file`);
  return start;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
