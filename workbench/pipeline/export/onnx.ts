// The stage that writes a model as ONNX: a file, or a folder in the layout of Hugging Face's repositories, with
// onnx/model.onnx beside config.json and the files of the tokenizer or the preprocessor.

import { readFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { CONFIG_FILE, REORDER_FILE } from "../../../hub/model-folder/index.ts";
import { exportOnnx } from "../../export/onnx/index.ts";
import { companionsOf, copyMoreTemplates } from "../../models/folder/write-folder.ts";
import { type FileType, type Model, storedConfig } from "../../models/index.ts";
import type { Saved } from "../save.ts";
import { lastEvent, type PipelineEvent } from "../stage.ts";

/** Where an ONNX file goes. */
export interface OnnxPlace {
  /** path of the file */
  file: string;
  /** the folder that gets config.json and other files too; undefined if only the file is written */
  folder?: string;
}

/** The place that `--out` names: a file if it ends in `.onnx`, else a folder. @param base folder of the model */
export function onnxPlace(out: string, base: string): OnnxPlace {
  if (out.endsWith(".onnx")) return { file: out };
  const file = join(out, "onnx", "model.onnx");
  // A model's own folder has the other files, which describe its structured layers.
  return resolve(out) === resolve(base) ? { file } : { file, folder: out };
}

interface SaveOnnxOptions extends OnnxPlace {
  /** folder of the model */
  base: string;
  withPast: boolean;
  dtype: FileType;
  /** layers that are float32 whatever `dtype` is */
  exact: readonly string[];
  /** version of this program */
  version: string;
  signal: AbortSignal;
}

/**
 * Writes a model as ONNX. Until all is written, nothing is changed; the ONNX file is put in place last.
 * @throws EngineError, ModelError as `exportOnnx`; the signal's reason when it aborts
 */
export async function* saveOnnx(
  model: Model,
  { file, folder, base, signal, ...options }: SaveOnnxOptions,
): AsyncGenerator<PipelineEvent, Saved> {
  const beside: string[] = [];
  const before = async (split: boolean) => {
    if (folder !== undefined) beside.push(...(await writeBeside(model, { folder, base, split })));
  };
  const events = exportOnnx(model, file, { ...options, before: folder === undefined ? undefined : before });
  const { files, bytes } = yield* lastEvent(events, "written", (event) => {
    if (event.kind === "written") return undefined;
    signal.throwIfAborted();
    return { kind: "inner", of: "save", event };
  });
  const within = folder === undefined ? "" : relative(folder, dirname(file));
  return { files: [...files.map((name) => join(within, basename(name))), ...beside], bytes };
}

/** Writes config.json of the dense model, and copies the tokenizer's or the preprocessor's files. */
async function writeBeside(
  model: Model,
  { folder, base, split }: { folder: string; base: string; split: boolean },
): Promise<string[]> {
  const companions = await companionsOf(base, folder);
  companions.delete(REORDER_FILE);
  for (const [name, path] of companions) await writeFileAtomically(join(folder, name), await readFile(path));
  await copyMoreTemplates(base, folder);
  const config = await storedConfig(model, { layers: {} });
  // Hugging Face's transformers.js looks for weights in a second file only if it is told.
  const forWeights = split ? { "transformers.js_config": { use_external_data_format: true } } : {};
  await writeFileAtomically(join(folder, CONFIG_FILE), `${JSON.stringify({ ...config, ...forWeights }, null, 2)}\n`);
  return [...companions.keys(), CONFIG_FILE];
}
