// Writes a model folder (docs/format.md): everything is written beside its place first, then put in place at once, so
// that the folder holds the old model or the new one whenever the process ends. What else is in the folder stays. Which
// tensors a model has is the caller's business.

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileFilter } from "../../../hub/access/file-patterns.ts";
import { type StagedFile, stageFile } from "../../../hub/files/atomic-file.ts";
import { reason } from "../../../hub/files/byte-source.ts";
import {
  CONFIG_FILE,
  finishReplacing,
  ModelError,
  replaceFiles,
  TRAINABLE_FILE,
} from "../../../hub/model-folder/index.ts";
import { EARLIER_PYTHON_FILES, type PythonClasses, pythonFiles } from "../../../hub/python/index.ts";
import {
  bitsOf,
  otherModelFiles,
  stageModel,
  stageSafetensors,
  type TensorSource,
  type WriteProgress,
} from "../../../hub/safetensors/index.ts";
import { PREPROCESSOR_FILE } from "../images/image-processor.ts";

export type SaveEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | WriteProgress
  | { kind: "saved"; folder: string; files: string[]; bytes: number };

export interface FolderContent {
  /** what is in model.safetensors */
  model: readonly TensorSource[];
  /** what is in trainable.safetensors; none: there is no such file afterwards */
  training?: readonly TensorSource[];
  /** what is in config.json */
  config: Readonly<Record<string, unknown>>;
  /** what Python has for it, where Python needs our files to load it. Default none */
  python?: PythonClasses | undefined;
  /** what is in preprocessor_config.json. Default as `base` has it */
  preprocessor?: Readonly<Record<string, unknown>> | undefined;
  /** folder whose tokenizer and preprocessor files are copied */
  base?: string | undefined;
  /** bytes of tensors in one file, at most. Default 5 GB */
  maxShardBytes?: number | undefined;
}

/** Of a base model, what is not its weights and not its description. Patterns of hub/access/file-patterns.ts */
export const COMPANION_FILES = [
  "tokenizer*.json",
  "tokenizer*.model",
  "spiece*.model",
  "sentencepiece*.model",
  "vocab.json",
  "vocab.txt",
  "merges.txt",
  "special_tokens_map.json",
  "added_tokens.json",
  "generation_config.json",
  PREPROCESSOR_FILE,
  "processor_config.json",
];

/**
 * @param folder as `prepareFolder` leaves it
 * @throws ModelError, SafetensorsError when it cannot be written: the folder is then as it was
 */
export async function* writeModelFolder(
  folder: string,
  { model, training = [], config, python, preprocessor, base, maxShardBytes }: FolderContent,
): AsyncGenerator<SaveEvent> {
  const all = [...model, ...training];
  const size = all.reduce((sum, { dtype, shape }) => sum + (bitsOf(dtype) / 8) * product(shape), 0);
  yield { kind: "opened", tensors: all.length, bytes: size };
  const staged: StagedFile[] = [];
  let bytes = 0;
  try {
    for await (const event of stageTensors(folder, { model, training, maxShardBytes })) {
      if (event.kind === "progress") yield event;
      else {
        staged.push(...[event.staged].flat());
        bytes += event.bytes;
      }
    }
    const companions = await companionsOf(base, folder);
    if (preprocessor) companions.delete(PREPROCESSOR_FILE);
    for (const [name, path] of companions) staged.push(await staging(folder, name, await readFile(path)));
    if (python) for (const { name, text } of await pythonFiles(python)) staged.push(await staging(folder, name, text));
    if (preprocessor) staged.push(await staging(folder, PREPROCESSOR_FILE, textOf(preprocessor)));
    staged.push(await staging(folder, CONFIG_FILE, textOf(config)));
    const files = staged.map(({ path }) => basename(path));
    const removed = await otherModelFiles(folder, files);
    if (training.length === 0) removed.push(TRAINABLE_FILE);
    await replaceFiles(folder, { staged, removed });
    // Nothing reads them beside the new ones, so it does not matter when they go.
    if (python) await Promise.all(EARLIER_PYTHON_FILES.map((name) => rm(join(folder, name), { force: true })));
    yield { kind: "saved", folder, files, bytes };
  } finally {
    await Promise.all(staged.map((file) => file.discard()));
  }
}

const textOf = (json: object): string => `${JSON.stringify(json, null, 2)}\n`;

const product = (shape: readonly number[]): number => shape.reduce((size, side) => size * side, 1);

/**
 * Makes the folder, and clears it of what a process that was killed may have left.
 * @throws ModelError when it cannot be
 */
export async function prepareFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await finishReplacing(folder);
    const left = /^\.(config\.json|(model|trainable)[\w.-]*|\w+\.py|\.replacing\.json)\.[0-9a-f]{12}\.tmp$/;
    for (const name of await readdir(folder)) if (left.test(name)) await rm(join(folder, name), { force: true });
  } catch (error) {
    if (error instanceof ModelError) throw error;
    throw new ModelError(`cannot be written: ${reason(error)}`, { file: folder }, { cause: error });
  }
}

/** Python's transformers reads a file only when it says which framework's layout it has. */
const METADATA = { format: "pt" };

interface Stages {
  model: readonly TensorSource[];
  training: readonly TensorSource[];
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
  return new Map(names.filter(fileFilter({ include: COMPANION_FILES })).map((name) => [name, join(base, name)]));
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
