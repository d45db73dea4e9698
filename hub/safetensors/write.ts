// Writes one safetensors file. Tensors are streamed, so that a 5 GB file does not need 5 GB of memory, and the file
// is replaced atomically. write-shards.ts writes models of several files.

import { type StagedFile, stageFile } from "../files/atomic-file.ts";
import { reason } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { MAX_HEADER_BYTES, METADATA, type PlacedTensor, PREFIX_BYTES } from "./header.ts";
import { bitsOf, byteLengthOf, type FileDtype, lengthProblem, SafetensorsError, type StoredTensor } from "./types.ts";

/**
 * Turns tensors in memory into sources for the writer.
 * @public
 */
export function sourcesOf(tensors: Iterable<readonly [string, StoredTensor]>): TensorSource[] {
  return Array.from(tensors, ([name, tensor]) => ({ name, ...tensor }));
}

/**
 * Writes a file atomically; on errors the old file stays.
 * @throws SafetensorsError when the tensors break a rule of the format, or the file cannot be written
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorSource>,
  { metadata = {} }: { metadata?: Metadata } = {},
): Promise<void> {
  let staged: StagedFile | undefined;
  try {
    for await (const event of stageSafetensors(path, tensors, { metadata })) {
      if (event.kind === "staged") staged = event.staged;
    }
    if (staged) await committing(staged);
  } finally {
    await staged?.discard();
  }
}

/**
 * Like writeSafetensors, but without the last step: the caller commits or discards the staged file, which is the last
 * event.
 */
export async function* stageSafetensors(
  path: string,
  tensors: Iterable<TensorSource>,
  { metadata = {} }: { metadata?: Metadata } = {},
): AsyncGenerator<WriteProgress | { kind: "staged"; staged: StagedFile; bytes: number }> {
  const layout = layOut(tensors, { file: path, metadata });
  const staged = await staging(path);
  let isWhole = false;
  try {
    yield* writeLayout(staged, layout);
    isWhole = true;
    yield { kind: "staged", staged, bytes: layout.bufferSize };
  } finally {
    if (!isWhole) await staged.discard();
  }
}

/**
 * Encodes a file in memory, with the same bytes as `writeSafetensors`.
 * @public
 */
export async function encodeSafetensors(
  tensors: Iterable<TensorSource>,
  { metadata = {} }: { metadata?: Metadata } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { head, placed, bufferSize } = layOut(tensors, { file: "bytes", metadata });
  const bytes = new Uint8Array(head.byteLength + bufferSize);
  bytes.set(head);
  let end = head.byteLength;
  for (const item of placed) {
    for await (const piece of piecesOf(item, "bytes")) {
      bytes.set(piece, end);
      end += piece.byteLength;
    }
  }
  return bytes;
}

/** Progress of a long write. */
export interface WriteProgress {
  kind: "progress";
  tensor: string;
  /** number of bytes just written */
  bytes: number;
}

/** Writes a layout to a staged file and finishes it. */
export async function* writeLayout(staged: StagedFile, { head, placed }: Layout): AsyncGenerator<WriteProgress> {
  try {
    await staged.append(head);
    for (const item of placed) {
      for await (const piece of piecesOf(item, staged.path)) {
        await staged.append(piece);
        yield { kind: "progress", tensor: item.source.name, bytes: piece.byteLength };
      }
    }
    await staged.finish();
  } catch (error) {
    throw isSystemError(error) ? cannotBeWritten(staged.path, error) : error;
  }
}

/**
 * Yields the bytes of one tensor.
 * @throws SafetensorsError when their number does not match the shape
 */
async function* piecesOf(
  { source: { name: tensor, data }, place: { byteLength } }: Layout["placed"][number],
  file: string,
): AsyncGenerator<Uint8Array> {
  if (typeof data !== "function") {
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return;
  }
  let done = 0;
  for await (const piece of data()) {
    done += piece.byteLength;
    if (done > byteLength) throw wrongLength({ file, tensor, byteLength }, { byteLength: done });
    yield piece;
  }
  if (done !== byteLength) throw wrongLength({ file, tensor, byteLength }, { byteLength: done });
}

/**
 * Stages a file.
 * @throws SafetensorsError when it cannot be created
 */
export async function staging(path: string): Promise<StagedFile> {
  return stageFile(path).catch((error: unknown) => {
    throw cannotBeWritten(path, error);
  });
}

/** Puts a staged file in place. @throws SafetensorsError when it cannot be renamed */
export async function committing(staged: StagedFile): Promise<void> {
  await staged.commit().catch((error: unknown) => {
    throw cannotBeWritten(staged.path, error);
  });
}

/** Errors of the file system are reported as errors of the file; those of a source keep their own type. */
function isSystemError(error: unknown): boolean {
  return typeof (error as { syscall?: unknown }).syscall === "string";
}

/** The error of a file that cannot be written. */
export function cannotBeWritten(file: string, error: unknown): SafetensorsError {
  return new SafetensorsError(`cannot be written: ${reason(error)}`, { file }, { cause: error });
}

/**
 * A tensor to write. Its bytes are row-major and little-endian; they are in memory, or generated in chunks when
 * needed.
 */
export interface TensorSource {
  name: string;
  dtype: FileDtype;
  shape: readonly number[];
  data: ArrayBufferView | (() => AsyncIterable<Uint8Array>);
}

/** The header and the places of all tensors of a file. */
export interface Layout {
  /** the start of the file: the length of the header and the header */
  head: Uint8Array;
  /** ordered by position */
  placed: { source: TensorSource; place: PlacedTensor }[];
  /** size of all tensors in bytes */
  bufferSize: number;
}

/** The metadata of a file, by key. */
export type Metadata = Readonly<Record<string, string>> | ReadonlyMap<string, string>;

/**
 * Assigns each tensor its place in the file. Types with larger elements come first, then the order is by name, and
 * the header is padded to a multiple of 8 bytes. So every tensor starts at a multiple of its element's size, and a
 * memory-mapped file can be viewed without copying.
 * @throws SafetensorsError for a repeated name, an invalid shape, or a header over the limit
 */
export function layOut(
  tensors: Iterable<TensorSource>,
  { file, metadata = {} }: { file: string; metadata?: Metadata },
): Layout {
  const sources = [...tensors].sort((a, b) => bitsOf(b.dtype) - bitsOf(a.dtype) || compare(a.name, b.name));
  const placed: Layout["placed"] = [];
  let end = 0;
  let previous: string | undefined;
  for (const source of [...sources].sort((a, b) => compare(a.name, b.name))) {
    checkName(source.name, { file, previous });
    previous = source.name;
  }
  for (const source of sources) {
    const byteLength = sizeOf(source, file);
    const start = end;
    end += byteLength;
    placed.push({ source, place: { dtype: source.dtype, shape: source.shape, byteLength, start, end } });
  }
  return { head: encodeHead(placed, { file, metadata }), placed, bufferSize: end };
}

/** Compares code units, so that the order does not depend on the locale. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function checkName(tensor: string, { file, previous }: { file: string; previous: string | undefined }): void {
  if (tensor === previous) throw new SafetensorsError(`${quote(tensor)} appears twice`, { file });
  if (tensor === METADATA) throw new SafetensorsError("the name is reserved for the metadata", { file, tensor });
  if (!tensor.isWellFormed()) throw new SafetensorsError("the name is not well-formed Unicode", { file, tensor });
}

function sizeOf({ name: tensor, dtype, shape, data }: TensorSource, file: string): number {
  if (!shape.every((side) => Number.isSafeInteger(side) && side >= 0)) {
    throw new SafetensorsError(`shape must be a list of non-negative integers, is [${shape.join(", ")}]`, {
      file,
      tensor,
    });
  }
  const byteLength = byteLengthOf(dtype, shape);
  if (byteLength === undefined) {
    throw new SafetensorsError(lengthProblem(dtype, shape), { file, tensor });
  }
  if (ArrayBuffer.isView(data) && data.byteLength !== byteLength) throw wrongLength({ file, tensor, byteLength }, data);
  return byteLength;
}

/** The error of data whose size does not match the dtype and shape. */
function wrongLength(
  { byteLength, ...place }: { file: string; tensor: string; byteLength: number },
  got: { byteLength: number },
): SafetensorsError {
  return new SafetensorsError(`needs ${byteLength} bytes, got ${got.byteLength}`, place);
}

function encodeHead(
  placed: Layout["placed"],
  { file, metadata }: { file: string; metadata: Metadata },
): Uint8Array<ArrayBuffer> {
  // Written entry by entry, since an object would reorder names that are numbers and drop one named __proto__.
  const entries = placed.map(({ source: { name, dtype, shape }, place: { start, end } }) => {
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [start, end] })}`;
  });
  const pairs = metadata instanceof Map ? [...metadata] : Object.entries(metadata);
  if (pairs.length > 0) {
    const notes = pairs.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    entries.unshift(`${JSON.stringify(METADATA)}:{${notes.join(",")}}`);
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new SafetensorsError(`header of ${length} bytes is longer than ${MAX_HEADER_BYTES}`, { file });
  }
  const head = new Uint8Array(PREFIX_BYTES + length).fill(" ".charCodeAt(0));
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, PREFIX_BYTES);
  return head;
}
