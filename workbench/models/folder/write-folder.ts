// Writes a model folder (docs/format.md). All files are written under temporary names and then renamed together, so
// that the folder contains either the old or the new model if the process is killed. Other files in the folder are
// kept.

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileFilter } from "../../../hub/access/file-patterns.ts";
import { type StagedFile, stageFile, writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { reason } from "../../../hub/files/byte-source.ts";
import {
  CONFIG_FILE,
  finishReplacing,
  ModelError,
  REORDER_FILE,
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

/** Progress of saving; the last event lists the files. */
export type SaveEvent =
  | { kind: "opened"; tensors: number; bytes: number }
  | WriteProgress
  | { kind: "saved"; folder: string; files: string[]; bytes: number };

/** The content of a model folder. */
export interface FolderContent {
  /** tensors of model.safetensors */
  model: readonly TensorSource[];
  /** tensors of trainable.safetensors; if empty, the file is removed */
  training?: readonly TensorSource[];
  /** content of config.json */
  config: Readonly<Record<string, unknown>>;
  /** Python classes of the model, if it needs our Python files. Default: no Python files are written */
  python?: PythonClasses | undefined;
  /** content of preprocessor_config.json. Default that of `base` */
  preprocessor?: Readonly<Record<string, unknown>> | undefined;
  /** folder whose tokenizer and preprocessor files are copied */
  base?: string | undefined;
  /** texts of further files, by name */
  texts?: ReadonlyMap<string, string>;
  /** maximum bytes of tensors per file. Default 5 GB */
  maxShardBytes?: number | undefined;
}

/** Files of a base model beside weights and config.json, as patterns of hub/access/file-patterns.ts. */
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
  "chat_template.jinja",
  "chat_template.json",
  "generation_config.json",
  REORDER_FILE,
  PREPROCESSOR_FILE,
  "processor_config.json",
];

/** Folder of further chat templates beside chat_template.jinja, such as one for tools, as transformers writes it. */
const MORE_TEMPLATES = "additional_chat_templates";
/** Its files, as a pattern. */
export const MORE_TEMPLATE_FILES = `${MORE_TEMPLATES}/*.jinja`;

/**
 * Writes the files of a model folder, all or none of them.
 * @param folder prepared by `prepareFolder`
 * @throws ModelError, SafetensorsError when it cannot be written; the folder is then unchanged
 */
export async function* writeModelFolder(
  folder: string,
  { model, training = [], config, python, preprocessor, base, texts = new Map(), maxShardBytes }: FolderContent,
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
    for (const name of [...texts.keys(), ...(preprocessor ? [PREPROCESSOR_FILE] : [])]) companions.delete(name);
    for (const [name, path] of companions) staged.push(await staging(folder, name, await readFile(path)));
    if (python) for (const { name, text } of await pythonFiles(python)) staged.push(await staging(folder, name, text));
    if (preprocessor) staged.push(await staging(folder, PREPROCESSOR_FILE, textOf(preprocessor)));
    for (const [name, text] of texts) staged.push(await staging(folder, name, text));
    staged.push(await staging(folder, CONFIG_FILE, textOf(config)));
    const files = staged.map(({ path }) => basename(path));
    const removed = await otherModelFiles(folder, files);
    if (training.length === 0) removed.push(TRAINABLE_FILE);
    // A model that is saved into its own folder keeps the orders that are there.
    if (base !== folder && !files.includes(REORDER_FILE)) removed.push(REORDER_FILE);
    await replaceFiles(folder, { staged, removed });
    await copyMoreTemplates(base, folder);
    // The new files do not use these, so the order of removal does not matter.
    if (python) await Promise.all(EARLIER_PYTHON_FILES.map((name) => rm(join(folder, name), { force: true })));
    yield { kind: "saved", folder, files, bytes };
  } finally {
    await Promise.all(staged.map((file) => file.discard()));
  }
}

const textOf = (json: object): string => `${JSON.stringify(json, null, 2)}\n`;

const product = (shape: readonly number[]): number => shape.reduce((size, side) => size * side, 1);

/**
 * Creates the folder, and removes temporary files of a process that was killed.
 * @throws ModelError when it cannot be
 */
export async function prepareFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await finishReplacing(folder);
    // Names of staged files, see atomic-file.ts.
    const left = /^\..+\.[0-9a-f]{12}\.tmp$/;
    for (const name of await readdir(folder)) if (left.test(name)) await rm(join(folder, name), { force: true });
  } catch (error) {
    if (error instanceof ModelError) throw error;
    throw new ModelError(`cannot be written: ${reason(error)}`, { file: folder }, { cause: error });
  }
}

/** transformers reads a file only if its metadata names the framework. */
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

/** Companion files of the base model by name; none if the model is saved into its base's folder. */
export async function companionsOf(base: string | undefined, folder: string): Promise<Map<string, string>> {
  if (base === undefined || base === folder) return new Map();
  const names = await readdir(base).catch((error: unknown) => {
    throw new ModelError(`cannot be opened: ${reason(error)}`, { file: base }, { cause: error });
  });
  return new Map(names.filter(fileFilter({ include: COMPANION_FILES })).map((name) => [name, join(base, name)]));
}

/** Copies further chat templates, which are in a folder of their own. The model does not depend on them. */
export async function copyMoreTemplates(base: string | undefined, folder: string): Promise<void> {
  if (base === undefined || base === folder) return;
  const [from, to] = [join(base, MORE_TEMPLATES), join(folder, MORE_TEMPLATES)];
  const names = (await readdir(from).catch(() => [])).filter(fileFilter({ include: ["*.jinja"] }));
  if (names.length === 0) return;
  try {
    await mkdir(to, { recursive: true });
    for (const name of names) await writeFileAtomically(join(to, name), await readFile(join(from, name)));
  } catch (error) {
    throw new ModelError(`cannot be written: ${reason(error)}`, { file: to }, { cause: error });
  }
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
