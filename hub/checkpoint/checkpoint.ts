// Opens PyTorch checkpoints (.ckpt, .pth, .pt, .bin; zip and legacy format, see archive.ts). Opening lists the
// tensors and checks everything that can be checked without reading their values; each tensor is read on request. No
// code of the file is run. Also opens the weights of old repositories on the Hub, pytorch_model.bin with or without
// an index; `gblr import` is for checkpoints that hold more than weights.

import { openFile, within } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { openSharded } from "../safetensors/shards.ts";
import { expectDtype, type StoredTensor, type TensorFile, viewTensor } from "../safetensors/types.ts";
import { readArchive } from "./archive.ts";
import { CheckpointError, contentsOf, type Json } from "./contents.ts";
import { type LocatedTensor, readTensor, streamTensor } from "./storage.ts";

/** An open checkpoint. The caller closes it. */
export interface Checkpoint extends TensorFile {
  /** everything except tensors, as JSON: epoch, hyper-parameters, optimizer settings */
  readonly rest: { readonly [key: string]: Json };
  /** maps a tensor's name to the name of an earlier tensor that views the same bytes in the same way */
  readonly tied: ReadonlyMap<string, string>;
}

/**
 * Opens a checkpoint.
 * @param path a file in the zip or legacy format
 * @throws CheckpointError when the file is not a checkpoint, is damaged, or names a Python global that checkpoints
 * must not use
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
      chunks: (name, { range } = {}) => {
        const stream = streamNamed(find(name), { file: path, tensor: name });
        return range ? within(stream, range) : stream;
      },
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
    if (byteLength === 0) continue; // empty tensors share no bytes
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

/** Adds the tensor's name to an error about the bytes of its storage. */
function named(error: unknown, place: Place): unknown {
  if (!(error instanceof CheckpointError) || error.tensor !== undefined) return error;
  return new CheckpointError(error.message.slice(error.file.length + 2), place, { cause: error });
}

/** Name of the weights in a repository without safetensors. */
export const OLD_SINGLE_FILE = "pytorch_model.bin";
/** Name of the index, if the weights are sharded. */
export const OLD_INDEX_FILE = "pytorch_model.bin.index.json";

/**
 * Opens the weights of an old repository; the caller closes them.
 * @param path pytorch_model.bin or pytorch_model.bin.index.json
 * @throws CheckpointError when a file is not a checkpoint; SafetensorsError when the index disagrees with its shards
 */
export function openOldWeights(path: string): Promise<TensorFile> {
  return path.endsWith(".json") ? openSharded(path, { suffix: ".bin", open: openCheckpoint }) : openCheckpoint(path);
}

/** Whether a path has one of these names. */
export const isOldWeights = (path: string): boolean => /(^|[/\\])pytorch_model\.bin(\.index\.json)?$/.test(path);
