// Writes a safetensors file: streamed, so that 5 GB need no 5 GB of memory, and atomic, so that a reader never sees half
// of it. One file only; models in several shards are in write-shards.ts.

import { type StagedFile, stageFile } from "../files/atomic-file.ts";
import { reason } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { MAX_HEADER_BYTES, METADATA, type PlacedTensor, PREFIX_BYTES } from "./header.ts";
import { bitsOf, byteLengthOf, type FileDtype, lengthProblem, SafetensorsError, type StoredTensor } from "./types.ts";

/** Tensors in memory by name, as sources for the writer. */
export function sourcesOf(tensors: Iterable<readonly [string, StoredTensor]>): TensorSource[] {
  return Array.from(tensors, ([name, tensor]) => ({ name, ...tensor }));
}

/**
 * Writes one file in its place, or leaves what is there as it was.
 * @throws SafetensorsError when the tensors break a rule of the format, or the disk does not take them
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

/** As writeSafetensors, but for the last step: who asked puts the finished file in place, or discards it. */
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

/** The bytes of one file in memory, as `writeSafetensors` would write them. */
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

/** One step of a long write. */
export interface WriteProgress {
  kind: "progress";
  tensor: string;
  /** just written */
  bytes: number;
}

/** Fills and finishes a staged file. */
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

/** The pieces of one tensor, which together must be as long as its shape says. */
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

/** @throws SafetensorsError where the folder takes no file */
export async function staging(path: string): Promise<StagedFile> {
  return stageFile(path).catch((error: unknown) => {
    throw cannotBeWritten(path, error);
  });
}

export async function committing(staged: StagedFile): Promise<void> {
  await staged.commit().catch((error: unknown) => {
    throw cannotBeWritten(staged.path, error);
  });
}

/** What the system refuses is the file's error; what a source throws while it is read is its own. */
function isSystemError(error: unknown): boolean {
  return typeof (error as { syscall?: unknown }).syscall === "string";
}

/** The error of a file that the system does not take. */
export function cannotBeWritten(file: string, error: unknown): SafetensorsError {
  return new SafetensorsError(`cannot be written: ${reason(error)}`, { file }, { cause: error });
}

/** A tensor to write: its bytes, row-major and little-endian, in memory or made piece by piece when its turn comes. */
export interface TensorSource {
  name: string;
  dtype: FileDtype;
  shape: readonly number[];
  data: ArrayBufferView | (() => AsyncIterable<Uint8Array>);
}

export interface Layout {
  /** the length of the header and the header: what the file begins with */
  head: Uint8Array;
  /** in the order of their bytes */
  placed: { source: TensorSource; place: PlacedTensor }[];
  /** bytes of all tensors */
  bufferSize: number;
}

export type Metadata = Readonly<Record<string, string>> | ReadonlyMap<string, string>;

/**
 * Larger elements first, then by name, with the header padded to a multiple of 8: so every tensor begins at a multiple
 * of its element's size, and a mapped file can be viewed in place.
 * @throws SafetensorsError for a name given twice, a shape that is none, a header over the limit
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

/** Code units, so that the order is the same in every locale. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function checkName(tensor: string, { file, previous }: { file: string; previous: string | undefined }): void {
  if (tensor === previous) throw new SafetensorsError(`${quote(tensor)} is named twice`, { file });
  if (tensor === METADATA) throw new SafetensorsError("the name is the metadata's", { file, tensor });
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

/** The error of data that is not as long as dtype and shape say. */
export function wrongLength(
  { byteLength, ...place }: { file: string; tensor: string; byteLength: number },
  got: { byteLength: number },
): SafetensorsError {
  return new SafetensorsError(`needs ${byteLength} bytes, got ${got.byteLength}`, place);
}

function encodeHead(
  placed: Layout["placed"],
  { file, metadata }: { file: string; metadata: Metadata },
): Uint8Array<ArrayBuffer> {
  // Written entry by entry: an object would reorder names that are numbers and lose one named __proto__.
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
