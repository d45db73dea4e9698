// Reads safetensors files. Opening reads only the header. Reading a tensor transfers only the bytes of that tensor,
// also from a large file. shards.ts reads models of several files.

import { type ByteSource, chunksOf, type Fail, memorySource, openFile } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { type Header, headerLength, type PlacedTensor, PREFIX_BYTES, parseHeader } from "./header.ts";
import {
  type ChunkOptions,
  expectDtype,
  SafetensorsError,
  type StoredTensor,
  type TensorFile,
  type TensorInfo,
  viewTensor,
} from "./types.ts";

/** An open file. The caller closes it. */
export interface SafetensorsFile extends TensorFile {
  readonly tensors: ReadonlyMap<string, PlacedTensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Opens a file and checks its header.
 * @throws SafetensorsError when the file does not exist or breaks a rule of the format
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return openSafetensorsSource(await openFile(path, failIn(path)), path);
}

/**
 * Opens a file that is in memory.
 * @public
 * @param file its name in error messages
 */
export function openSafetensorsBytes(bytes: Uint8Array, file = "bytes"): Promise<SafetensorsFile> {
  return openSafetensorsSource(memorySource(bytes, failIn(file)), file);
}

/**
 * Reads all tensors of a file into memory, by name. Half-precision values are kept as bits; `toFloat32` converts them.
 * @public
 */
export async function readSafetensors(path: string): Promise<Map<string, StoredTensor>> {
  return readAll(await openSafetensors(path));
}

/** Reads all tensors of an open file into memory and closes it. */
export async function readAll(file: TensorFile): Promise<Map<string, StoredTensor>> {
  try {
    const tensors = new Map<string, StoredTensor>();
    for (const name of file.tensors.keys()) tensors.set(name, await file.read(name));
    return tensors;
  } finally {
    await file.close();
  }
}

function failIn(file: string): Fail {
  return (problem, options) => new SafetensorsError(problem, { file }, options);
}

/**
 * Opens a file through any byte source, which is closed on errors.
 * @param file its name in error messages
 * @throws SafetensorsError when the file breaks a rule of the format
 */
export async function openSafetensorsSource(source: ByteSource, file: string): Promise<SafetensorsFile> {
  try {
    const prefix = await source.read(0, Math.min(PREFIX_BYTES, source.size));
    const length = headerLength(prefix, { file, fileSize: source.size });
    const buffer = PREFIX_BYTES + length;
    const header = parseHeader(await source.read(PREFIX_BYTES, length), { file, bufferSize: source.size - buffer });
    return tensorsOf({ source, file, header, buffer });
  } catch (error) {
    await source.close();
    throw error;
  }
}

interface OpenFile {
  source: ByteSource;
  file: string;
  header: Header;
  /** where the buffer starts in the file, in bytes */
  buffer: number;
}

function tensorsOf({ source, file, header, buffer }: OpenFile): SafetensorsFile {
  const find = (name: string) => {
    const tensor = header.tensors.get(name);
    if (!tensor) throw new SafetensorsError(`has no tensor ${quote(name)}`, { file });
    return tensor;
  };
  const read = async (name: string) => {
    const tensor = find(name);
    const fail: Fail = (problem, options) => new SafetensorsError(problem, { file, tensor: name }, options);
    const typed = expectDtype(tensor, fail);
    return viewTensor(typed, await source.read(buffer + tensor.start, tensor.byteLength));
  };
  const chunks = (name: string, { range, buffer: memory }: ChunkOptions = {}) => {
    const { start, byteLength } = find(name);
    const part = { start: buffer + start + (range?.start ?? 0), end: buffer + start + (range?.end ?? byteLength) };
    return chunksOf(source, part, memory);
  };
  return { ...header, read, chunks, close: () => source.close() };
}

/**
 * The same file with renamed tensors.
 * @param rename maps a stored name to the new one; it must be injective
 */
export function renameTensors<File extends TensorFile>(file: File, rename: (stored: string) => string): File {
  const stored = new Map<string, string>();
  const tensors = new Map<string, TensorInfo>();
  for (const [name, info] of file.tensors) {
    const own = rename(name);
    stored.set(own, name);
    tensors.set(own, info);
  }
  const nameOf = (own: string) => stored.get(own) ?? own;
  const chunks = (own: string, options?: ChunkOptions) => file.chunks(nameOf(own), options);
  return { ...file, tensors, read: (own) => file.read(nameOf(own)), chunks };
}
