// The Python files of a model folder, with which PyTorch loads it with or without transformers, and the fields of
// config.json that they need. Two files are written. Each is joined from modules in this folder. Python is not run.

import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { joinPython } from "./join.ts";
import { structureModules } from "./structures.ts";

/** Modules that become files of a model folder, together with their imports. The second may import the first. */
const MAIN = "modeling_gblr";
const FILES = ["configuration_gblr", MAIN];

/** Files of earlier versions, which are no longer used. */
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

/** A Python file that is written into model folders. */
export interface PythonFile {
  /** name in the model folder */
  name: string;
  text: string;
}

let sources: Promise<Record<string, string>> | undefined;

/**
 * The Python files of a structured model.
 * @param known the classes of the architecture. The files depend on them only if they have a `source`
 */
export async function pythonFiles(known?: Pick<PythonClasses, "module" | "source">): Promise<PythonFile[]> {
  const own = await pythonSources();
  const { module = "", source } = known ?? {};
  const all = source === undefined ? own : { ...own, [module]: source, [MAIN]: importing(own[MAIN] as string, module) };
  return Array.from(joinPython(all, FILES), ([name, text]) => ({ name: `${name}.py`, text }));
}

/** The texts of all modules before joining, by name: those in this folder and the generated ones. */
export async function pythonSources(): Promise<Record<string, string>> {
  sources ??= readSources();
  return { ...(await sources), ...structureModules() };
}

async function readSources(): Promise<Record<string, string>> {
  const folder = new URL(".", import.meta.url);
  const names = (await readdir(fileURLToPath(folder))).filter((name) => name.endsWith(".py"));
  const texts = await Promise.all(names.map((name) => readFile(fileURLToPath(new URL(name, folder)), "utf8")));
  return Object.fromEntries(names.map((name, i) => [name.slice(0, -".py".length), texts[i] as string]));
}

/** Adds an import after the docstring. */
const importing = (source: string, module: string): string =>
  source.replace(/^"""[\s\S]*?"""\n/, (docstring) => `${docstring}\nimport ${module}`);

/** Prefix of the `model_type` of structured models for whose dense form transformers has no class. */
const PREFIX = "gblr_";

/**
 * Value of two fields in config.json that prevent transformers' own class from loading the model, because it would
 * initialize structured layers at random. If transformers has a class of the base model, `model_type` is that of the
 * base model, so that tokenizer, image processor and configuration load without our code. transformers rejects GUARD as
 * an attention implementation and, since version 5, as the name of the weights file. `configuration_gblr.py` removes
 * both fields.
 */
const GUARD = "gblr: needs trust_remote_code=True";
const GUARDS = { attn_implementation: GUARD, transformers_weights: GUARD };

/** The names of transformers' own class of a dense model, and of our classes of the structured one. */
export interface OwnClasses {
  base: string;
  model: string;
  config: string;
}

/** The Python classes of an architecture. */
export interface PythonClasses {
  /** module with the network for torch alone, in this folder unless `source` is given */
  module: string;
  /**
   * Text of that module if it is not in this folder: a docstring, imports, and a subclass of gblr_build.Network whose
   * `kind` is the `model_type`, or a tuple of them. It is written into the folders of this architecture's models
   */
  source?: string;
  /** the Auto class of transformers that loads the model. Default: transformers cannot load it */
  auto?: string;
  /** classes for Hugging Face's parameter names, by the `model_type` of the base model */
  own?: { readonly [modelType: string]: OwnClasses };
  /** attribute of the language models in transformers that holds the network without the head, e.g. `transformer` */
  body?: string;
  /** classes for timm's parameter names, for which transformers has no class */
  timm?: { model: string; config: string };
  /** tokenizer class, if the folder does not name one */
  tokenizer?: string;
}

/**
 * Adds the fields to a config.json from which transformers determines the classes. If a layer is structured, these are
 * the classes of the folder, otherwise transformers' own. Fields of timm are kept.
 *
 * The Python classes create layers before tensors are read. For each layer X, `gblr.layers[X].shapes` must therefore
 * map its parameters (`spans`, `values_in`, `left`, …, without the bias) to their shapes in model.safetensors.
 * @param json with the `model_type` of the base model or of a structured one
 * @param structured whether a layer is structured
 * @param known the Python classes of its architecture. Default none
 */
export function pythonConfig(
  json: Readonly<Record<string, unknown>>,
  structured: boolean,
  known?: PythonClasses,
): Record<string, unknown> {
  const type = baseModelType(String(json.model_type));
  if (!known) return { ...json, model_type: structured ? PREFIX + type : type };
  const { auto_map: _, tokenizer_class, architectures: _1, ...others } = json;
  const rest = Object.fromEntries(
    Object.entries(others).filter(([name, value]) => !(Object.hasOwn(GUARDS, name) && value === GUARD)),
  );
  const tokenizer = tokenizer_class ?? (structured ? known.tokenizer : undefined);
  const kept = { ...rest, ...(tokenizer !== undefined && { tokenizer_class: tokenizer }) };
  const isTimm = typeof json.architecture === "string";
  const own = known.own?.[type];
  if (!structured) {
    return { ...kept, model_type: type, ...(!isTimm && own && { architectures: [own.base] }) };
  }
  const classes = isTimm ? known.timm : own;
  if (!classes || known.auto === undefined) return { ...kept, model_type: PREFIX + type };
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

/** Removes the prefix from a `model_type`: `gpt2` for `gblr_gpt2`. */
export function baseModelType(modelType: string): string {
  return modelType.startsWith(PREFIX) ? modelType.slice(PREFIX.length) : modelType;
}
