// The Python side of a model folder: the files by which PyTorch, alone or under transformers, loads what we write, and
// what config.json must say for that. Two files are written, joined from the modules here; nothing here runs Python.

import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { joinPython } from "./join.ts";

/** Modules that become files of a model folder, with what they import. The second may import the first. */
const FILES = ["configuration_gblr", "modeling_gblr"];

/** Files of earlier versions, which nothing reads beside those of today. */
export const EARLIER_PYTHON_FILES: readonly string[] = [
  "load",
  "files",
  "build",
  "layers",
  "convolutions",
  "masks",
  "gpt2",
  "vit",
  "resnet",
  "mixer",
]
  .concat("patches", "timm", "images")
  .map((name) => `gblr_${name}.py`);

export interface PythonFile {
  /** in the model folder */
  name: string;
  text: string;
}

let files: Promise<PythonFile[]> | undefined;

/** The files that go into every folder of a structured model. They are the same for all architectures. */
export function pythonFiles(): Promise<PythonFile[]> {
  files ??= joinedFiles();
  return files;
}

async function joinedFiles(): Promise<PythonFile[]> {
  const folder = new URL(".", import.meta.url);
  const names = (await readdir(fileURLToPath(folder))).filter((name) => name.endsWith(".py"));
  const texts = await Promise.all(names.map((name) => readFile(fileURLToPath(new URL(name, folder)), "utf8")));
  const sources = Object.fromEntries(names.map((name, i) => [name.slice(0, -".py".length), texts[i] as string]));
  return Array.from(joinPython(sources, FILES), ([name, text]) => ({ name: `${name}.py`, text }));
}

/** What a structured model's `model_type` begins with where transformers has no class for the dense one. */
const PREFIX = "gblr_";

/**
 * Where it has one, `model_type` is the base model's, so that tokenizer, image processor and configuration load without
 * code of ours. That the base model's class does not load too, its structured layers filled at random, is seen to by
 * this: transformers refuses a kind of attention that it does not know, and, where the caller asks for another kind, a
 * file of weights that is none (since version 5). `configuration_gblr.py` takes both away.
 */
const GUARD = "gblr: needs trust_remote_code=True";
const GUARDS = { attn_implementation: GUARD, transformers_weights: GUARD };

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
 * else its own. What timm says of a model, in fields of other names, stays.
 *
 * The Python classes build a layer before they see its tensors: for each X, `gblr.layers[X].shapes` must map its
 * parameters (`spans`, `values_in`, `left`, …, not the bias) to their shapes in model.safetensors.
 * @param json with the `model_type` of the base model or of a structured one
 */
export function pythonConfig(json: Readonly<Record<string, unknown>>, structured: boolean): Record<string, unknown> {
  const type = baseModelType(String(json.model_type));
  const known = isKnownInPython(type) ? CLASSES[type] : undefined;
  if (!known) return { ...json, model_type: structured ? PREFIX + type : type };
  const { auto_map: _, tokenizer_class, architectures: _1, ...others } = json;
  const rest = Object.fromEntries(
    Object.entries(others).filter(([name, value]) => !(Object.hasOwn(GUARDS, name) && value === GUARD)),
  );
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
    ...(isTimm ? { model_type: PREFIX + type } : { model_type: type, ...GUARDS }),
    architectures: [classes.model],
    auto_map: {
      AutoConfig: `configuration_gblr.${classes.config}`,
      [known.auto]: `modeling_gblr.${classes.model}`,
    },
  };
}

/** Whether the Python files know this kind of model. @param modelType of the base model */
export const isKnownInPython = (modelType: string): boolean => Object.hasOwn(CLASSES, modelType);

/** `gpt2` of `gblr_gpt2`; others as they are. */
export function baseModelType(modelType: string): string {
  return modelType.startsWith(PREFIX) ? modelType.slice(PREFIX.length) : modelType;
}
