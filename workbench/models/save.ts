// Saves a model as a folder (docs/format.md): everything is written beside its place first, then put in place at once,
// so that the folder holds the old model or the new one whenever the process ends. What else is in the folder stays.

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { type StagedFile, stageFile } from "../../hub/atomic-file.ts";
import { reason } from "../../hub/byte-source.ts";
import {
  CONFIG_FILE,
  finishReplacing,
  ModelError,
  replaceFiles,
  TRAINABLE_FILE,
} from "../../hub/model-folder/index.ts";
import { pythonFiles } from "../../hub/python/index.ts";
import {
  otherModelFiles,
  stageModel,
  stageSafetensors,
  type TensorSource,
  type WriteProgress,
} from "../../hub/safetensors/index.ts";
import type { Model } from "./model.ts";
import { storedConfig } from "./stored-config.ts";
import { storedTensors } from "./stored-layers.ts";

export interface SaveOptions {
  /** writes trainable.safetensors too, so that GBLR layers can be trained on. Default false */
  trainable?: boolean;
  /** the dense model: its name goes into config.json; tokenizer and preprocessor files are copied from its folder */
  base?: { folder?: string | undefined; name?: string | undefined };
  /** more fields of config.json's "gblr" part, e.g. `{ budget: 0.4375 }` */
  gblr?: Readonly<Record<string, unknown>>;
  /** bytes of tensors in one file, at most. Default 5 GB */
  maxShardBytes?: number;
}

export type SaveEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | WriteProgress
  | { kind: "saved"; folder: string; files: string[]; bytes: number };

/** Of a base model, what is not its weights and not its description. */
const COMPANIONS =
  /^(tokenizer.*\.json|vocab\.(json|txt)|merges\.txt|special_tokens_map\.json|added_tokens\.json|(tokenizer|spiece|sentencepiece)[\w.]*\.model|(generation|pre?processor|processor)_config\.json)$/;

/**
 * @param folder made if it is not there
 * @throws ModelError, SafetensorsError when it cannot be written: the folder is then as it was
 * @throws ModelError when `trainable` is asked of a model that was loaded packed
 */
export async function* saveModel<Config>(
  model: Model<Config>,
  folder: string,
  { trainable = false, base = {}, gblr, maxShardBytes }: SaveOptions = {},
): AsyncGenerator<SaveEvent> {
  const saved = model as Model;
  expectTrainable(saved, { trainable, folder });
  await ready(folder);
  const tensors = await storedTensors(saved);
  const config = await storedConfig(saved, { layers: tensors.layers, baseModel: base.name, gblr });
  const training = trainable ? tensors.trainable : [];
  const all = [...tensors.model, ...training];
  yield { kind: "opened", tensors: all.length, bytes: all.reduce((sum, { shape }) => sum + 4 * product(shape), 0) };
  const staged: StagedFile[] = [];
  let bytes = 0;
  try {
    for await (const event of stageTensors(folder, { model: tensors.model, training, maxShardBytes })) {
      if (event.kind === "progress") yield event;
      else {
        staged.push(...[event.staged].flat());
        bytes += event.bytes;
      }
    }
    const isStructured = Object.keys(tensors.layers).length > 0;
    const companions = await companionsOf(base.folder, folder);
    if (isStructured) for (const { name, path } of await pythonFiles()) companions.set(name, path);
    for (const [name, path] of companions) staged.push(await staging(folder, name, await readFile(path)));
    staged.push(await staging(folder, CONFIG_FILE, `${JSON.stringify(config, null, 2)}\n`));
    const files = staged.map(({ path }) => basename(path));
    const removed = await otherModelFiles(folder, files);
    if (training.length === 0) removed.push(TRAINABLE_FILE);
    await replaceFiles(folder, { staged, removed });
    yield { kind: "saved", folder, files, bytes };
  } finally {
    await Promise.all(staged.map((file) => file.discard()));
  }
}

/** The same without its events. @returns names of the files in the folder */
export async function saveModelNow<Config>(
  model: Model<Config>,
  folder: string,
  options: SaveOptions = {},
): Promise<string[]> {
  for await (const event of saveModel(model, folder, options)) {
    if (event.kind === "saved") return event.files;
  }
  throw new ModelError("was not saved to its end", { file: folder });
}

function expectTrainable({ layers }: Model, { trainable, folder }: { trainable: boolean; folder: string }): void {
  const packed = [...layers.values()].find(({ structure }) => structure.name === "packed");
  if (!trainable || !packed) return;
  const problem = "is packed, its training parameters are not in memory; load the model as trainable to save it so";
  throw new ModelError(problem, { file: folder, layer: packed.name });
}

const product = (shape: readonly number[]): number => shape.reduce((size, side) => size * side, 1);

/** Made, without what a process that was killed may have left there. */
async function ready(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await finishReplacing(folder);
    const left = /^\.(config\.json|(model|trainable)[\w.-]*)\.[0-9a-f]{12}\.tmp$/;
    for (const name of await readdir(folder)) if (left.test(name)) await rm(join(folder, name), { force: true });
  } catch (error) {
    if (error instanceof ModelError) throw error;
    throw new ModelError(`cannot be written: ${reason(error)}`, { file: folder }, { cause: error });
  }
}

/** Python's transformers reads a file only when it says which framework's layout it has. */
const METADATA = { format: "pt" };

interface Stages {
  model: TensorSource[];
  training: TensorSource[];
  maxShardBytes: number | undefined;
}

async function* stageTensors(folder: string, { model, training, maxShardBytes }: Stages) {
  if (training.length > 0) yield* stageSafetensors(join(folder, TRAINABLE_FILE), training, { metadata: METADATA });
  yield* stageModel(folder, model, { metadata: METADATA, ...(maxShardBytes !== undefined && { maxShardBytes }) });
}

/** Files of the base model that go along, by name; none where the model is saved over its base. */
async function companionsOf(base: string | undefined, folder: string): Promise<Map<string, string>> {
  if (base === undefined || base === folder) return new Map();
  const names = await readdir(base).catch((error: unknown) => {
    throw new ModelError(`cannot be opened: ${reason(error)}`, { file: base }, { cause: error });
  });
  return new Map(names.filter((name) => COMPANIONS.test(name)).map((name) => [name, join(base, name)]));
}

async function staging(folder: string, name: string, content: string | Uint8Array): Promise<StagedFile> {
  const path = join(folder, name);
  let staged: StagedFile | undefined;
  try {
    staged = await stageFile(path);
    await staged.append(typeof content === "string" ? new TextEncoder().encode(content) : content);
    await staged.finish();
    return staged;
  } catch (error) {
    await staged?.discard();
    throw new ModelError(`cannot be written: ${reason(error)}`, { file: path }, { cause: error });
  }
}
