// The Python side of a model folder: the files by which PyTorch, alone or under transformers, loads what we write, and
// what config.json must say for that. Two files are written, joined from the modules here; nothing here runs Python.

import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { joinPython } from "./join.ts";
import { structureModules } from "./structures.ts";

/** Modules that become files of a model folder, with what they import. The second may import the first. */
const MAIN = "modeling_gblr";
const FILES = ["configuration_gblr", MAIN];

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

/** A Python file that is written into model folders. */
export interface PythonFile {
  /** in the model folder */
  name: string;
  text: string;
}

let sources: Promise<Record<string, string>> | undefined;

/**
 * The files that go into every folder of a structured model.
 * @param known what Python has for the architecture: the files are the same for all but those that bring a module
 */
export async function pythonFiles(known?: Pick<PythonClasses, "module" | "source">): Promise<PythonFile[]> {
  const own = await pythonSources();
  const { module = "", source } = known ?? {};
  const all = source === undefined ? own : { ...own, [module]: source, [MAIN]: importing(own[MAIN] as string, module) };
  return Array.from(joinPython(all, FILES), ([name, text]) => ({ name: `${name}.py`, text }));
}

/** All modules as they are before they are joined, by name: those of this folder, and those written from tables. */
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

/** The source with one more import behind its docstring. */
const importing = (source: string, module: string): string =>
  source.replace(/^"""[\s\S]*?"""\n/, (docstring) => `${docstring}\nimport ${module}`);

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

/** What Python has for an architecture. */
export interface PythonClasses {
  /** module with its network for torch alone, one of this folder's where `source` is not given */
  module: string;
  /**
   * Text of that module, where it is none of this folder's: a docstring, imports, and a subclass of gblr_build.Network
   * with `kind`, the `model_type`. It is then written into the folders of this architecture's models
   */
  source?: string;
  /** what a user of transformers asks for the model by. Default: transformers has no class for it */
  auto?: string;
  /** where names are Hugging Face's; `base` is transformers' own class for the dense model */
  own?: { base: string; model: string; config: string };
  /** where they are timm's, of which transformers has no class */
  timm?: { model: string; config: string };
  /** for folders that leave it to transformers, which goes by `model_type` */
  tokenizer?: string;
}

/**
 * A config.json whose fields tell transformers which classes to use: those of the folder where a layer is structured,
 * else its own. What timm says of a model, in fields of other names, stays.
 *
 * The Python classes build a layer before they see its tensors: for each X, `gblr.layers[X].shapes` must map its
 * parameters (`spans`, `values_in`, `left`, …, not the bias) to their shapes in model.safetensors.
 * @param json with the `model_type` of the base model or of a structured one
 * @param known what Python has for its architecture. Default nothing
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
  if (!structured) {
    return { ...kept, model_type: type, ...(!isTimm && known.own && { architectures: [known.own.base] }) };
  }
  const classes = isTimm ? known.timm : known.own;
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

/** `gpt2` of `gblr_gpt2`; others as they are. */
export function baseModelType(modelType: string): string {
  return modelType.startsWith(PREFIX) ? modelType.slice(PREFIX.length) : modelType;
}
