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

const NAMES = [
  "configuration_gblr.py",
  "modeling_gblr.py",
  "gblr_load.py",
  "gblr_files.py",
  "gblr_rules.py",
  "gblr_build.py",
  "gblr_layers.py",
  "gblr_convolutions.py",
  "gblr_masks.py",
  "gblr_gpt2.py",
  "gblr_vit.py",
  "gblr_resnet.py",
  "gblr_mixer.py",
  "gblr_patches.py",
  "gblr_timm.py",
  "gblr_images.py",
];

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
  /** what a user asks for the model by */
  auto: string;
  /** where names are Hugging Face's; `base` is transformers' own class for the dense model */
  own?: { base: string; model: string; config: string };
  /** where they are timm's, of which transformers has no class */
  timm?: { model: string; config: string };
  /** for folders that leave it to transformers, which goes by `model_type` */
  tokenizer?: string;
}

const CLASSES: Record<string, PythonClasses> = {
  gpt2: {
    auto: "AutoModelForCausalLM",
    own: { base: "GPT2LMHeadModel", model: "GblrGPT2LMHeadModel", config: "GblrGPT2Config" },
    tokenizer: "GPT2Tokenizer",
  },
  vit: {
    auto: "AutoModelForImageClassification",
    own: { base: "ViTForImageClassification", model: "GblrViTForImageClassification", config: "GblrViTConfig" },
    timm: { model: "GblrTimmViTForImageClassification", config: "GblrTimmViTConfig" },
  },
  resnet: {
    auto: "AutoModelForImageClassification",
    own: {
      base: "ResNetForImageClassification",
      model: "GblrResNetForImageClassification",
      config: "GblrResNetConfig",
    },
    timm: { model: "GblrTimmResNetForImageClassification", config: "GblrTimmResNetConfig" },
  },
  mixer: {
    auto: "AutoModelForImageClassification",
    timm: { model: "GblrTimmMixerForImageClassification", config: "GblrTimmMixerConfig" },
  },
};

/**
 * A config.json whose fields tell transformers which classes to use: those of the folder where a layer is structured,
 * else its own. `model_type` is then a name apart, so that a program that only knows the base model refuses the folder
 * instead of filling the layers it misses at random. What timm says of a model, in fields of other names, stays.
 *
 * The Python classes build a layer before they see its tensors: for each X, `gblr.layers[X].shapes` must map its
 * parameters (`spans`, `values_in`, `left`, …, not the bias) to their shapes in model.safetensors.
 * @param json with the `model_type` of the base model or of a structured one
 */
export function pythonConfig(json: Readonly<Record<string, unknown>>, structured: boolean): Record<string, unknown> {
  const type = baseModelType(String(json.model_type));
  const known = CLASSES[type];
  if (!known) return { ...json, model_type: structured ? PREFIX + type : type };
  const { auto_map: _, tokenizer_class, architectures: _1, ...rest } = json;
  const tokenizer = tokenizer_class ?? (structured ? known.tokenizer : undefined);
  const kept = { ...rest, ...(tokenizer !== undefined && { tokenizer_class: tokenizer }) };
  const isTimm = typeof json.architecture === "string";
  if (!structured) {
    return { ...kept, model_type: type, ...(!isTimm && known.own && { architectures: [known.own.base] }) };
  }
  const classes = isTimm ? known.timm : known.own;
  if (!classes) return { ...kept, model_type: PREFIX + type };
  return {
    ...kept,
    model_type: PREFIX + type,
    architectures: [classes.model],
    auto_map: {
      AutoConfig: `configuration_gblr.${classes.config}`,
      [known.auto]: `modeling_gblr.${classes.model}`,
    },
  };
}

/** Whether the Python files know this kind of model. @param modelType of the base model */
export const isKnownInPython = (modelType: string): boolean => modelType in CLASSES;

/** `gpt2` of `gblr_gpt2`; others as they are. */
export function baseModelType(modelType: string): string {
  return modelType.startsWith(PREFIX) ? modelType.slice(PREFIX.length) : modelType;
}
