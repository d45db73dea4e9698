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

/** What a structured model's `model_type` begins with; the base model's follows. */
const PREFIX = "gblr_";

interface PythonClasses {
  /** transformers' class for the dense model */
  base: string;
  /** what a user asks for the model by */
  auto: string;
  model: string;
  config: string;
  /** for folders that leave it to transformers, which goes by `model_type` */
  tokenizer?: string;
}

const CLASSES: Record<string, PythonClasses> = {
  gpt2: {
    base: "GPT2LMHeadModel",
    auto: "AutoModelForCausalLM",
    model: "GblrGPT2LMHeadModel",
    config: "GblrGPT2Config",
    tokenizer: "GPT2Tokenizer",
  },
};

/**
 * A config.json whose fields tell transformers which classes to use: those of the folder where a layer is structured,
 * else its own. `model_type` is then a name apart, so that a program that only knows the base model refuses the folder
 * instead of filling the layers it misses at random.
 *
 * The Python classes build a layer before they see its tensors: for each X, `gblr.layers[X].shapes` must map its
 * parameters (`spans`, `values_in`, `left`, …, not the bias) to their shapes in model.safetensors.
 * @param json with the `model_type` of the base model or of a structured one
 */
export function pythonConfig(json: Readonly<Record<string, unknown>>, structured: boolean): Record<string, unknown> {
  const type = baseModelType(String(json.model_type));
  const classes = CLASSES[type];
  if (!classes) return { ...json, model_type: structured ? PREFIX + type : type };
  const { auto_map: _, tokenizer_class, ...rest } = json;
  const own = tokenizer_class === undefined ? {} : { tokenizer_class };
  if (!structured) return { ...rest, ...own, model_type: type, architectures: [classes.base] };
  return {
    ...rest,
    ...(classes.tokenizer && { tokenizer_class: classes.tokenizer }),
    ...own,
    model_type: PREFIX + type,
    architectures: [classes.model],
    auto_map: { AutoConfig: `configuration_gblr.${classes.config}`, [classes.auto]: `modeling_gblr.${classes.model}` },
  };
}

/** Whether the Python files know this kind of model. @param modelType of the base model */
export const isKnownInPython = (modelType: string): boolean => modelType in CLASSES;

/** `gpt2` of `gblr_gpt2`; others as they are. */
export function baseModelType(modelType: string): string {
  return modelType.startsWith(PREFIX) ? modelType.slice(PREFIX.length) : modelType;
}
