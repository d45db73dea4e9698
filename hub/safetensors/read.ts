// Reads safetensors files: the header once, then each tensor by its own bytes and no others, so that one tensor of a
// 5 GB file costs what that tensor weighs. One file only; sharded models are in open.ts.

import { type ByteSource, chunksOf, type Fail, memorySource, openFile } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { type Header, headerLength, type PlacedTensor, PREFIX_BYTES, parseHeader } from "./header.ts";
import {
  expectDtype,
  SafetensorsError,
  type StoredTensor,
  type TensorFile,
  type TensorInfo,
  viewTensor,
} from "./types.ts";

/** One open file. Close it. */
export interface SafetensorsFile extends TensorFile {
  readonly tensors: ReadonlyMap<string, PlacedTensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads and checks the header, nothing else.
 * @throws SafetensorsError when there is no such file or it breaks a rule of the format
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return openSafetensorsSource(await openFile(path, failIn(path)), path);
}

/** A whole file already in memory. @param file what errors call it */
export function openSafetensorsBytes(bytes: Uint8Array, file = "bytes"): Promise<SafetensorsFile> {
  return openSafetensorsSource(memorySource(bytes, failIn(file)), file);
}

/** All tensors of a file by name, in memory at once. Half-precision types stay bits; `toFloat32` converts them. */
export async function readSafetensors(path: string): Promise<Map<string, StoredTensor>> {
  return readAll(await openSafetensors(path));
}

/** All tensors of an open file, which it closes. */
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

/** From any bytes that are read by position; closes them when there is something wrong. @param file what errors call it */
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
  /** where the buffer begins in the file, in bytes */
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
  const chunks = (name: string) => {
    const { start, end } = find(name);
    return chunksOf(source, { start: buffer + start, end: buffer + end });
  };
  return { ...header, read, chunks, close: () => source.close() };
}

/** @param rename must give no two tensors one name */
export function renameTensors<File extends TensorFile>(file: File, rename: (stored: string) => string): File {
  const stored = new Map<string, string>();
  const tensors = new Map<string, TensorInfo>();
  for (const [name, info] of file.tensors) {
    const own = rename(name);
    stored.set(own, name);
    tensors.set(own, info);
  }
  const nameOf = (own: string) => stored.get(own) ?? own;
  return { ...file, tensors, read: (own) => file.read(nameOf(own)), chunks: (own) => file.chunks(nameOf(own)) };
}
