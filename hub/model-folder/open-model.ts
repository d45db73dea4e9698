// Opens a local model: a folder with config.json and safetensors files, or with the pytorch_model.bin of older
// repositories, or a single such file. Reads config.json and headers, but no tensors.

import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isOldWeights, OLD_INDEX_FILE, OLD_SINGLE_FILE, openOldWeights } from "../checkpoint/index.ts";
import { reason } from "../files/byte-source.ts";
import { INDEX_FILE, openTensors, SINGLE_FILE, type TensorFile, withoutInt8 } from "../safetensors/index.ts";
import { textOfFile } from "../text/utf8.ts";
import { type GblrConfig, parseGblrConfig } from "./gblr-config.ts";
import { ModelError } from "./layer-tensors.ts";
import { finishReplacing } from "./replace-files.ts";

/** File of a model folder that describes the model. */
export const CONFIG_FILE = "config.json";
/** File of a model folder with the training parameters of its GBLR layers. */
export const TRAINABLE_FILE = "trainable.safetensors";

/** A model folder that is open for reading: its config and its tensors. */
export interface OpenModel {
  /** the file that was opened, or the index of its shards; used in errors */
  path: string;
  tensors: TensorFile;
  /** undefined for a dense model, and for a file without config.json in its folder */
  config?: GblrConfig;
}

/**
 * Opens a local model. If a folder has both forms, the packed one is opened. The caller closes the tensors.
 * @param path a model folder, a safetensors file, or the index of a sharded one
 * @throws ModelError, SafetensorsError or CheckpointError with a message of one line
 */
export async function openModel(path: string): Promise<OpenModel> {
  const status = await stat(path).catch((error: unknown) => {
    throw new ModelError(`cannot be opened: ${reason(error)}`, { file: path }, { cause: error });
  });
  const isFolder = status.isDirectory();
  await finishReplacing(isFolder ? path : dirname(path));
  const config = await readConfig(join(isFolder ? path : dirname(path), CONFIG_FILE), isFolder);
  const file = isFolder ? await tensorsIn(path) : path;
  if (isOldWeights(file)) return { path: file, tensors: await openOldWeights(file), ...(config && { config }) };
  if (!/\.safetensors(\.index\.json)?$/.test(file)) {
    throw new ModelError("is not a safetensors file; use `gblr import` for a PyTorch checkpoint", { file });
  }
  const tensors = await openTensors(file);
  try {
    return { path: file, tensors: config ? asReal(tensors, { config, file }) : tensors, ...(config && { config }) };
  } catch (error) {
    await tensors.close();
    throw error;
  }
}

/**
 * The tensors as real numbers: 8-bit integers become float32, if the version of the folder allows them.
 * @throws ModelError when their scales are missing or do not fit
 */
export function asReal<File extends TensorFile>(
  tensors: File,
  { config, file }: { config: GblrConfig; file: string },
): File {
  if (!config.hasInt8) return tensors;
  return withoutInt8(tensors, (tensor) => (problem, options) => new ModelError(problem, { file, tensor }, options));
}

/** Reads the "gblr" part of config.json. A folder must have a config.json; for a file it is optional. */
export async function readConfig(file: string, required: boolean): Promise<GblrConfig | undefined> {
  if (!required && !(await stat(file).catch(() => undefined))) return undefined;
  return parseGblrConfig(await readConfigText(file), file);
}

/** Largest size of a config.json that is parsed, in bytes. Usual files have a few kilobytes. */
const MOST_CONFIG_BYTES = 100_000_000;

/**
 * Reads the text of config.json.
 * @throws ModelError when it does not exist, is too long, is a Git LFS pointer, or is not UTF-8
 */
export async function readConfigText(file: string): Promise<string> {
  const bytes = await readConfigBytes(file);
  return textOfFile(bytes, (problem, options) => new ModelError(problem, { file }, options));
}

async function readConfigBytes(file: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(file);
    if (size > MOST_CONFIG_BYTES) throw new Error(`it has ${size} bytes, more than ${MOST_CONFIG_BYTES}`);
    return await readFile(file);
  } catch (error) {
    const problem = `cannot be opened: ${reason(error)}; a model folder has one, with ${SINGLE_FILE} beside it`;
    throw new ModelError(problem, { file }, { cause: error });
  }
}

async function tensorsIn(folder: string): Promise<string> {
  for (const name of [SINGLE_FILE, INDEX_FILE, TRAINABLE_FILE, OLD_SINGLE_FILE, OLD_INDEX_FILE]) {
    const file = join(folder, name);
    if (await stat(file).catch(() => undefined)) return file;
  }
  throw new ModelError(`has neither ${SINGLE_FILE}, nor ${INDEX_FILE}, nor ${TRAINABLE_FILE}, nor ${OLD_SINGLE_FILE}`, {
    file: folder,
  });
}
