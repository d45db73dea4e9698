// Opens a PyTorch checkpoint (.ckpt, .pth, .pt, .bin; zip or legacy): lists its tensors, checks all that can be checked
// without reading them, and reads each when asked for. Nothing of the file is run.

import { openFile } from "../files/byte-source.ts";
import { FileError, quote } from "../files/file-error.ts";
import { openSharded } from "../safetensors/shards.ts";
import { expectDtype, type StoredTensor, type TensorFile, viewTensor } from "../safetensors/types.ts";
import { readArchive } from "./archive.ts";
import { contentsOf, type Json } from "./contents.ts";
import { type LocatedTensor, readTensor, streamTensor } from "./storage.ts";

/** An open checkpoint. Close it. */
export interface Checkpoint extends TensorFile {
  /** everything that is no tensor: epoch, hyper-parameters, the optimizer's settings */
  readonly rest: { readonly [key: string]: Json };
  /** name of a tensor to the name of an earlier one that is the same view of the same bytes */
  readonly tied: ReadonlyMap<string, string>;
}

/**
 * @throws CheckpointError when the file is none, is damaged, or names a global that a checkpoint must not use
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const fail = (problem: string, options?: ErrorOptions) => new CheckpointError(problem, { file: path }, options);
  const source = await openFile(path, fail);
  try {
    const { root, storage } = await readArchive(source, fail);
    const { tensors, rest } = contentsOf(root, { file: path, storage });
    const find = (name: string): LocatedTensor => {
      const tensor = tensors.get(name);
      if (!tensor) throw fail(`has no tensor ${quote(name)}`);
      return tensor;
    };
    return {
      tensors,
      rest,
      tied: tiesAmong(tensors),
      read: async (name) => readNamed(find(name), { file: path, tensor: name }),
      chunks: (name) => streamNamed(find(name), { file: path, tensor: name }),
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function tiesAmong(tensors: ReadonlyMap<string, LocatedTensor>): Map<string, string> {
  const first = new Map<string, string>();
  const tied = new Map<string, string>();
  for (const [name, { identity, byteLength }] of tensors) {
    const earlier = first.get(identity);
    if (byteLength === 0) continue; // nothing is shared
    if (earlier === undefined) first.set(identity, name);
    else tied.set(name, earlier);
  }
  return tied;
}

interface Place {
  file: string;
  tensor: string;
}

async function readNamed(tensor: LocatedTensor, place: Place): Promise<StoredTensor> {
  try {
    const typed = expectDtype(tensor, (problem, options) => new CheckpointError(problem, place, options));
    return viewTensor(typed, await readTensor(tensor));
  } catch (error) {
    throw named(error, place);
  }
}

async function* streamNamed(tensor: LocatedTensor, place: Place): AsyncGenerator<Uint8Array> {
  try {
    yield* streamTensor(tensor);
  } catch (error) {
    throw named(error, place);
  }
}

/** An error of the bytes that a tensor lies in is the tensor's too. */
function named(error: unknown, place: Place): unknown {
  if (!(error instanceof CheckpointError) || error.tensor !== undefined) return error;
  return new CheckpointError(error.message.slice(error.file.length + 2), place, { cause: error });
}

/** A file that is no checkpoint, is damaged, or asks for what a reader must not do. */
export class CheckpointError extends FileError {
  override readonly name = "CheckpointError";
}

export const OLD_SINGLE_FILE = "pytorch_model.bin";
export const OLD_INDEX_FILE = "pytorch_model.bin.index.json";

/**
 * Close it.
 * @param path pytorch_model.bin or pytorch_model.bin.index.json
 * @throws CheckpointError when a file is no checkpoint, SafetensorsError when the index disagrees with its shards
 */
export function openOldWeights(path: string): Promise<TensorFile> {
  return path.endsWith(".json") ? openSharded(path, { suffix: ".bin", open: openCheckpoint }) : openCheckpoint(path);
}

export const isOldWeights = (path: string): boolean => /(^|[/\\])pytorch_model\.bin(\.index\.json)?$/.test(path);
