// Opens a model's tensors wherever they are: a file, an index with its shards, or a folder that holds either.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { SafetensorsError } from "./errors.ts";
import { openSafetensors } from "./read.ts";
import { INDEX_FILE, openSharded, type ShardedFile, SINGLE_FILE } from "./shards.ts";

/**
 * @param path a safetensors file, a `*.index.json`, or a folder with model.safetensors or its index
 * @throws SafetensorsError when there is none, or it breaks a rule of its format
 */
export async function openTensors(path: string): Promise<ShardedFile> {
  const file = await resolve(path);
  return file.endsWith(".json") ? openSharded(file) : openSafetensors(file);
}

async function resolve(path: string): Promise<string> {
  if (!(await stat(path).catch(() => undefined))?.isDirectory()) return path;
  for (const name of [SINGLE_FILE, INDEX_FILE]) {
    const file = join(path, name);
    if (await stat(file).catch(() => undefined)) return file;
  }
  throw new SafetensorsError(`has neither ${SINGLE_FILE} nor ${INDEX_FILE}`, { file: path });
}
