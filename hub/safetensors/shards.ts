// Opens a model's tensors: one safetensors file, or an index and its shards, under the names that Hugging Face's
// libraries use. The index is checked against the headers of all shards.

import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { openFile } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { MAX_HEADER_BYTES, scanJson } from "./header.ts";
import { openSafetensors } from "./read.ts";
import { SafetensorsError, type TensorFile, type TensorInfo } from "./types.ts";

/** Name of a model that is one file. */
export const SINGLE_FILE = "model.safetensors";
/** Name of the index of a sharded model. */
export const INDEX_FILE = "model.safetensors.index.json";

/** The name of a shard: `model-00002-of-00003.safetensors` for number 2 of 3. */
export function shardName(number: number, count: number): string {
  return `model-${String(number).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.safetensors`;
}

/**
 * The text of an index file.
 * @param weights maps a tensor to its shard
 * @param totalBytes size of all tensors
 */
export function indexText(weights: ReadonlyMap<string, string>, totalBytes: number): string {
  const lines = [...weights]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, shard]) => `    ${JSON.stringify(name)}: ${JSON.stringify(shard)}`);
  return `{\n  "metadata": { "total_size": ${totalBytes} },\n  "weight_map": {\n${lines.join(",\n")}\n  }\n}\n`;
}

/** All shards of an index, read like one file. */
export interface ShardedFile extends TensorFile {
  readonly metadata: ReadonlyMap<string, string>;
}

type Shard = TensorFile & { readonly metadata?: ReadonlyMap<string, string> };

/** How to open a shard. */
export interface ShardFormat {
  /** ending of a shard's name */
  suffix: string;
  /** opens a shard without reading values */
  open(path: string): Promise<Shard>;
}

const SAFETENSORS: ShardFormat = { suffix: ".safetensors", open: openSafetensors };

/**
 * Opens all shards of an index and reads their headers.
 * @param format format of the shards; the index has the same form in every format
 * @throws SafetensorsError when the index and the shards disagree; the format's error when a shard breaks a rule
 */
export async function openSharded(indexPath: string, format: ShardFormat = SAFETENSORS): Promise<ShardedFile> {
  const weights = await readIndex(indexPath, format);
  const shards = new Map<string, Shard>();
  const close = async () => {
    await Promise.all(Array.from(shards.values(), (shard) => shard.close()));
  };
  try {
    for (const shard of new Set(weights.values())) {
      shards.set(shard, await format.open(join(dirname(indexPath), shard)));
    }
    checkShards({ weights, shards, file: indexPath });
  } catch (error) {
    await close();
    throw error;
  }
  return joined({ weights, shards, file: indexPath, close });
}

interface Index {
  weights: ReadonlyMap<string, string>;
  shards: ReadonlyMap<string, Shard>;
  file: string;
}

function joined({ weights, shards, file, close }: Index & { close: () => Promise<void> }): ShardedFile {
  const tensors = new Map<string, TensorInfo>();
  const metadata = new Map<string, string>();
  for (const shard of shards.values()) {
    for (const [name, tensor] of shard.tensors) tensors.set(name, tensor);
    for (const [key, value] of shard.metadata ?? []) metadata.set(key, value);
  }
  const shardOf = (name: string): Shard => {
    const shard = shards.get(weights.get(name) ?? "");
    if (!shard) throw new SafetensorsError(`has no tensor ${quote(name)}`, { file });
    return shard;
  };
  return {
    tensors,
    metadata,
    read: async (name) => shardOf(name).read(name),
    chunks: (name, options) => shardOf(name).chunks(name, options),
    close,
  };
}

function checkShards({ weights, shards, file }: Index): void {
  for (const [tensor, shard] of weights) {
    if (!shards.get(shard)?.tensors.has(tensor)) {
      throw new SafetensorsError(`is not in ${shard}, where the index puts it`, { file, tensor });
    }
  }
  for (const [shard, { tensors }] of shards) {
    for (const tensor of tensors.keys()) {
      if (weights.get(tensor) !== shard) {
        throw new SafetensorsError(`is in ${shard}, where the index does not put it`, { file, tensor });
      }
    }
  }
}

async function readIndex(path: string, { suffix }: ShardFormat): Promise<Map<string, string>> {
  const fail = (problem: string, options?: ErrorOptions) => new SafetensorsError(problem, { file: path }, options);
  const value = parseIndex(await readText(path, fail), fail);
  const weightMap = (value as { weight_map?: unknown } | null)?.weight_map;
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw fail("weight_map must map tensors to files");
  }
  const weights = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(weightMap)) {
    if (typeof shard !== "string" || !shard.endsWith(suffix) || !isPlainName(shard)) {
      const problem = `its shard must be the name of a ${suffix.slice(1)} file beside the index, is ${quote(String(shard))}`;
      throw new SafetensorsError(problem, { file: path, tensor });
    }
    weights.set(tensor, shard);
  }
  return weights;
}

/** Whether a name from a file stays inside the folder of that file. */
function isPlainName(name: string): boolean {
  return !/[/\\\0]/.test(name);
}

type Fail = (problem: string, options?: ErrorOptions) => SafetensorsError;

async function readText(path: string, fail: Fail): Promise<Uint8Array> {
  const source = await openFile(path, fail);
  try {
    if (source.size > MAX_HEADER_BYTES) throw fail(`index of ${source.size} bytes is longer than ${MAX_HEADER_BYTES}`);
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}

function parseIndex(bytes: Uint8Array, fail: Fail): unknown {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (error) {
    throw fail("index is not JSON", { cause: error });
  }
  const { duplicate } = scanJson(text);
  if (duplicate) throw fail(`${quote(duplicate.at(-1) as string)} appears twice`);
  return value;
}

/**
 * Opens the tensors of a model.
 * @param path a safetensors file, a `*.index.json`, or a folder that has model.safetensors or its index
 * @throws SafetensorsError when there is none, or it breaks a rule of the format
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
