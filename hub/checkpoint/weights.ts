// The weights of a repository from before safetensors: pytorch_model.bin, or its index and shards. Only opened here, as a
// model's tensors are; nothing of the files is run, and `gblr import` is for checkpoints that hold more than weights.

import { openSharded, type TensorFile } from "../safetensors/index.ts";
import { openCheckpoint } from "./open.ts";

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
