// Model folders among the files of a push go through the gate first: what breaks a rule of docs/format.md must not get
// where others pull it. Folders of other programs' models are theirs to know.

import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { CONFIG_FILE, checkModelFolder } from "../model-folder/index.ts";
import { isJsonObject, jsonOrUndefined } from "../text/json.ts";
import type { LocalFile } from "./folder-files.ts";

const MODEL_FILE = /^(config\.json|(model|trainable)[\w.-]*\.safetensors(\.index\.json)?)$/;

/** @throws ModelError in one line that names the tensor and the rule */
export async function checkModels(files: readonly LocalFile[]): Promise<void> {
  const folders = new Set(files.flatMap(({ source }) => (MODEL_FILE.test(basename(source)) ? [dirname(source)] : [])));
  for (const folder of folders) if (await isStructured(folder)) await checkModelFolder(folder);
}

async function isStructured(folder: string): Promise<boolean> {
  const json = jsonOrUndefined(await readFile(join(folder, CONFIG_FILE), "utf8").catch(() => ""));
  return isJsonObject(json) && (json.gblr !== undefined || /^gblr_/.test(String(json.model_type)));
}
