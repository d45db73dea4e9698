// The bytes of tensors. A storage is a range of a legacy file, or an entry of a zip archive, stored or deflated. The
// checksum of an entry is verified before its bytes are used. A tensor views a storage by an offset, a shape and
// strides, as in PyTorch; several tensors can view one storage. All numbers of a view are checked here. Elements are
// read in row-major order.

import { pipeline, Readable } from "node:stream";
import { crc32, createInflateRaw } from "node:zlib";
import { type ByteRange, type ByteSource, chunksOf, type Fail, within } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { bitsOf, byteLengthOf, lengthProblem, type TensorInfo } from "../safetensors/types.ts";
import { elementBytes } from "./globals.ts";
import { isCount, itemsOf, type PickleValue, type TensorView } from "./pickle-values.ts";
import type { ZipArchive, ZipEntry } from "./zip.ts";

/** The bytes of one storage. */
export interface Storage {
  readonly byteLength: number;
  /** Yields the bytes of a range in chunks of a few megabytes. The range must lie inside the storage. */
  stream(range: ByteRange): AsyncGenerator<Uint8Array>;
}

/** Reads a range into a new buffer. */
export async function readRange(storage: Storage, range: ByteRange): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(range.end - range.start);
  let done = 0;
  for await (const piece of storage.stream(range)) {
    bytes.set(piece, done);
    done += piece.byteLength;
  }
  return bytes;
}

/**
 * A storage that is a range of a file.
 * @param range bytes of the file
 */
export function fileStorage(source: ByteSource, { start, end }: ByteRange): Storage {
  return {
    byteLength: end - start,
    stream: (range) => chunksOf(source, { start: start + range.start, end: start + range.end }),
  };
}

interface EntryOptions {
  source: ByteSource;
  archive: ZipArchive;
  fail: Fail;
}

/** A storage that is an entry of a zip archive. */
export function entryStorage(entry: ZipEntry, { source, archive, fail }: EntryOptions): Storage {
  let verified = false;
  /** Yields the whole content and verifies its size and checksum at the end. */
  async function* whole(): AsyncGenerator<Uint8Array> {
    const start = await archive.locate(entry);
    const packed = chunksOf(source, { start, end: start + entry.packedSize });
    yield* checked(entry.method === "stored" ? packed : inflated(packed, { entry, fail }), { entry, fail });
    verified = true;
  }
  async function* stream({ start, end }: ByteRange): AsyncGenerator<Uint8Array> {
    if (start === 0 && end === entry.size) return yield* whole();
    // A part cannot be verified by itself, so the whole entry is read once and discarded.
    if (!verified) for await (const _ of whole());
    if (entry.method === "deflated") return yield* within(whole(), { start, end });
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

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}

/** A tensor whose description was checked against its storage. */
export interface LocatedTensor extends TensorInfo {
  storage: Storage;
  /** the bytes of the storage that contain the elements */
  span: ByteRange;
  /** in elements, one for each dimension */
  strides: readonly number[];
  /** whether the elements are in row-major order without gaps */
  contiguous: boolean;
  /** equal for tensors that view the same bytes in the same way */
  identity: string;
}

/**
 * Largest size in bytes of a tensor that is larger than its storage. A stride of 0 repeats elements, so a small storage
 * could expand to terabytes.
 */
const MAX_EXPANDED_BYTES = 2 ** 30;

/** The storages of a file by key, and the error to throw. */
export interface LocateOptions {
  storage(key: string): Storage | undefined;
  fail: Fail;
}

/**
 * Checks a tensor's description against its storage.
 * @throws the error made by `fail` when the file does not have the storage or the view is not inside it
 */
export function locateTensor(view: TensorView, { storage: find, fail }: LocateOptions): LocatedTensor {
  const { element } = view;
  if (!element) throw fail("its storage has no type");
  if ("unsupported" in element) throw fail(`elements of ${element.unsupported} cannot be stored as safetensors`);
  const { dtype } = element;
  const bytes = bitsOf(dtype) / 8;
  const shape = counts(view.shape);
  const strides = counts(view.strides);
  if (!shape || !strides || shape.length !== strides.length)
    throw fail("its shape and strides are not lists of sizes of equal length");
  if (!isCount(view.offset)) throw fail(`its offset is ${numberText(view.offset)}`);
  const byteLength = byteLengthOf(dtype, shape);
  if (byteLength === undefined) throw fail(lengthProblem(dtype, shape));
  const storage = checkedStorage(view, { storage: find, fail });
  const start = view.storage.offset * (elementBytes(view.storage.element) ?? bytes) + view.offset * bytes;
  const reach = shape.reduce((reach, side, i) => reach + (side - 1) * (strides[i] as number), 1) * bytes;
  const span = byteLength === 0 ? { start: 0, end: 0 } : { start, end: start + reach };
  checkSpan(span, { view, storage, bytes, fail });
  if (byteLength > Math.max(storage.byteLength, MAX_EXPANDED_BYTES)) {
    throw fail(`expands ${storage.byteLength} bytes to ${byteLength}, more than is accepted`);
  }
  const contiguous = byteLength === 0 || isContiguous(shape, strides);
  const identity = JSON.stringify([view.storage.key, dtype, span, shape, strides]);
  return { dtype, shape, byteLength, storage, span, strides, contiguous, identity };
}

function checkedStorage({ storage: declared }: TensorView, { storage: find, fail }: LocateOptions): Storage {
  const key = JSON.stringify(declared.key);
  const storage = find(declared.key);
  if (!storage) throw fail(`storage ${key} is missing from the file`);
  const needed = (declared.offset + declared.length) * (elementBytes(declared.element) ?? 1);
  if (storage.byteLength < needed) {
    throw fail(`storage ${key} has ${storage.byteLength} bytes, where ${needed} are declared`);
  }
  return storage;
}

interface SpanOptions {
  view: TensorView;
  storage: Storage;
  /** bytes of one element */
  bytes: number;
  fail: Fail;
}

/** Checks that a tensor ends inside its declared storage. A legacy file may declare a part of the stored one. */
function checkSpan({ end }: ByteRange, { view, storage, bytes, fail }: SpanOptions): void {
  const { offset, length, element } = view.storage;
  const limit = Math.min(storage.byteLength, (offset + length) * (elementBytes(element) ?? bytes));
  if (!Number.isSafeInteger(end) || end > limit) {
    throw fail(`reaches ${end} bytes into storage ${JSON.stringify(view.storage.key)}, which has ${limit}`);
  }
}

/** Yields a tensor's bytes in row-major order. A tensor that is not contiguous is gathered in memory first. */
export async function* streamTensor(tensor: LocatedTensor): AsyncGenerator<Uint8Array> {
  if (tensor.byteLength === 0) return;
  if (tensor.contiguous) yield* tensor.storage.stream(tensor.span);
  else yield await gather(tensor);
}

/** Reads a tensor's bytes in row-major order into a new buffer. */
export async function readTensor(tensor: LocatedTensor): Promise<Uint8Array<ArrayBuffer>> {
  return tensor.contiguous ? readRange(tensor.storage, tensor.span) : gather(tensor);
}

/** Array type for elements of each size in bytes. Elements are copied without interpreting them. */
const WORDS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const;

/** Copies the elements of a tensor that is not contiguous into a new buffer, in row-major order. */
async function gather({ dtype, shape, byteLength, storage, span, strides }: LocatedTensor) {
  const bytes = (bitsOf(dtype) / 8) as keyof typeof WORDS;
  const from = new WORDS[bytes]((await readRange(storage, span)).buffer);
  const to = new WORDS[bytes](byteLength / bytes);
  const inner = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  const index = shape.slice(0, -1).fill(0);
  let start = 0;
  for (let at = 0; at < to.length; at += inner) {
    for (let i = 0; i < inner; i++) to[at + i] = from[start + i * step] as never;
    start += advance(index, { shape, strides });
  }
  return new Uint8Array(to.buffer);
}

/**
 * Increments the outer indices by one row.
 * @returns how many elements the start of the row moves
 */
function advance(
  index: number[],
  { shape, strides }: { shape: readonly number[]; strides: readonly number[] },
): number {
  let move = 0;
  for (let side = index.length - 1; side >= 0; side--) {
    const stride = strides[side] as number;
    const now = (index[side] as number) + 1;
    if (now < (shape[side] as number)) {
      index[side] = now;
      return move + stride;
    }
    index[side] = 0;
    move -= (now - 1) * stride;
  }
  return move;
}

/** Whether strides (in elements) describe row-major order without gaps. */
function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let side = shape.length - 1; side >= 0; side--) {
    if (shape[side] !== 1 && strides[side] !== expected) return false;
    expected *= shape[side] as number;
  }
  return true;
}

/** The numbers of a list or tuple. Undefined unless all are non-negative integers. */
function counts(value: PickleValue): number[] | undefined {
  const items = itemsOf(value);
  return items?.every(isCount) ? (items.slice() as number[]) : undefined;
}

function numberText(value: PickleValue): string {
  return typeof value === "number" || typeof value === "bigint" ? String(value) : "no number";
}
