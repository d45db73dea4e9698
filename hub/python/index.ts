// The Python side of a model folder: the files by which PyTorch, alone or under transformers, loads what we write, and
// what config.json must say for that. The files are copied as they are; nothing here runs Python.

import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface PythonFile {
  /** in the model folder */
  name: string;
  /** where it lies in this package */
  path: string;
}

const NAMES = ["configuration_gblr.py", "modeling_gblr.py", "gblr_layers.py", "gblr_masks.py", "gblr_files.py"];

/** The files that go into every model folder. */
export async function pythonFiles(): Promise<PythonFile[]> {
  return NAMES.map((name) => ({ name, path: fileURLToPath(new URL(name, import.meta.url)) }));
}

/** Puts them into a model folder, over those of an earlier version. @returns their names */
export async function copyPythonFiles(folder: string): Promise<string[]> {
  const files = await pythonFiles();
  for (const { name, path } of files) await copyFile(path, join(folder, name));
  return files.map(({ name }) => name);
}

/** Fields of config.json that tell transformers which classes of the folder to use. */
export interface PythonConfig {
  model_type: string;
  architectures: string[];
  auto_map: Record<string, string>;
  tokenizer_class?: string;
}

/** What a structured model's `model_type` begins with; the base model's follows. */
const PREFIX = "gblr_";

const CLASSES: Record<string, { auto: string; model: string; config: string; tokenizer?: string }> = {
  gpt2: {
    auto: "AutoModelForCausalLM",
    model: "GblrGPT2LMHeadModel",
    config: "GblrGPT2Config",
    tokenizer: "GPT2Tokenizer",
  },
};

/**
 * The fields to lay over the base model's config.json when a layer is structured. `model_type` is a name of its own, so
 * that a program that only knows the base model refuses the folder instead of filling the layers it misses at random.
 * @param baseModelType e.g. `gpt2`
 * @returns undefined for an architecture that the Python files do not have
 */
export function pythonConfig(baseModelType: string): PythonConfig | undefined {
  const found = CLASSES[baseModelType];
  if (!found) return undefined;
  return {
    model_type: PREFIX + baseModelType,
    architectures: [found.model],
    auto_map: { AutoConfig: `configuration_gblr.${found.config}`, [found.auto]: `modeling_gblr.${found.model}` },
    // The base model's folder need not name its tokenizer, where transformers knows it by `model_type`.
    ...(found.tokenizer && { tokenizer_class: found.tokenizer }),
  };
}

/** `gpt2` of `gblr_gpt2`; others as they are. */
export function baseModelType(modelType: string): string {
  return modelType.startsWith(PREFIX) ? modelType.slice(PREFIX.length) : modelType;
}
