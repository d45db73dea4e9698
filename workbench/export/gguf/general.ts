// The general metadata of a GGUF file: name, size, license, languages and base model, of the model's card, and the
// sampling settings of generation_config.json.

import { join } from "node:path";
import { frontMatter, parseCardMetadata } from "../../../hub/card/metadata.ts";
import { count, type Entries, type Entry, integer, number, text, texts } from "../../../hub/gguf/entries.ts";
import { isJsonObject } from "../../../hub/text/json.ts";
import { jsonOf, readIfThere, textOf } from "../../data/optional-file.ts";
import type { FileType } from "../../models/index.ts";

/** Numbers of file types: what most tensors are (llama.cpp's `llama_ftype`). */
const FILE_TYPE: Readonly<Record<FileType, number>> = { float32: 0, float16: 1, bfloat16: 32 };

/** Version of the quantized formats, which converters write for all files. */
const QUANTIZATION = 2;

/**
 * The general metadata.
 * @param folder of the model, with its card
 * @param name of the model
 * @param size number of values of all tensors
 */
export async function generalEntries(
  folder: string,
  { architecture, name, dtype, size }: { architecture: string; name: string; dtype: FileType; size: number },
): Promise<Entries> {
  return {
    "general.architecture": text(architecture),
    "general.type": text("model"),
    "general.name": text(name),
    "general.size_label": text(sizeLabel(size)),
    ...(await cardEntries(folder)),
    ...(await samplingEntries(folder)),
    "general.file_type": count(FILE_TYPE[dtype]),
    "general.quantization_version": count(QUANTIZATION),
  };
}

/** A number of parameters in at least two digits: `135M`, `1.7B`. */
function sizeLabel(size: number): string {
  const [unit, letter] = size > 1e12 ? [1e12, "T"] : size > 1e9 ? [1e9, "B"] : size > 1e6 ? [1e6, "M"] : [1e3, "K"];
  const scaled = size / (unit as number);
  return `${scaled.toFixed(scaled >= 9.5 ? 0 : 1)}${letter}`;
}

async function cardEntries(folder: string): Promise<Entries> {
  const file = join(folder, "README.md");
  const bytes = await readIfThere(file);
  if (!bytes) return {};
  const readme = textOf(file, bytes);
  const { license, licenseName, licenseLink, language, tags } = parseCardMetadata(readme);
  const [base] = [frontMatter(readme).base_model].flat();
  const present = Object.entries({
    "general.license": typeof license === "string" ? text(license) : undefined,
    "general.license.name": licenseName === undefined ? undefined : text(licenseName),
    "general.license.link": licenseLink === undefined ? undefined : text(licenseLink),
    ...(typeof base === "string" && baseEntries(base)),
    "general.tags": tags && texts(tags),
    "general.languages": language && texts(language),
  });
  return Object.fromEntries(present.filter((entry): entry is [string, Entry] => entry[1] !== undefined));
}

/** The base model, if it is named as a repository. */
function baseEntries(repo: string): Entries {
  const [, owner, name] = /^([\w.-]+)\/([\w.-]+)$/.exec(repo) ?? [];
  if (owner === undefined || name === undefined) return {};
  return {
    "general.base_model.count": count(1),
    "general.base_model.0.name": text(name),
    "general.base_model.0.organization": text(owner),
    "general.base_model.0.repo_url": text(`https://huggingface.co/${repo}`),
  };
}

/** Settings of generation_config.json by their keys. */
const SAMPLING: Readonly<Record<string, readonly [key: string, entry: (value: number) => Entry]>> = {
  top_k: ["top_k", integer],
  top_p: ["top_p", number],
  min_p: ["min_p", number],
  temperature: ["temp", number],
  repetition_penalty: ["penalty_repeat", number],
};

/** The settings of a model that samples. */
async function samplingEntries(folder: string): Promise<Entries> {
  const file = join(folder, "generation_config.json");
  const bytes = await readIfThere(file);
  const settings = bytes ? jsonOf(file, bytes) : undefined;
  if (!isJsonObject(settings) || settings.do_sample !== true) return {};
  const found = Object.entries(SAMPLING).flatMap(([name, [key, entry]]) => {
    const value = settings[name];
    return typeof value === "number" ? [[`general.sampling.${key}`, entry(value)] as const] : [];
  });
  return Object.fromEntries(found);
}
