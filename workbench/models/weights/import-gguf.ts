// Imports a model in GGUF as a model folder: dequantized weights with the names of transformers, config.json, tokenizer,
// chat template and generation_config.json. No engine is needed, and one tensor at a time is in memory.

import { readFile, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import {
  type GgufModel,
  IMPORTED,
  openGguf,
  planModel,
  tensorSources,
  type WrittenDtype,
} from "../../../hub/gguf/index.ts";
import type { TensorSource, WriteProgress } from "../../../hub/safetensors/index.ts";
import { prepareFolder, writeModelFolder } from "../folder/write-folder.ts";

/** Target of an import from GGUF. */
export interface ImportGgufOptions {
  /** the model folder, created if missing; a model in it is replaced */
  out: string;
  /** type of the weights. Default: float32 if any tensor is quantized, else each tensor's own */
  dtype?: WrittenDtype | undefined;
  /** maximum bytes of tensors per file. Default 5 GB */
  maxShardBytes?: number | undefined;
}

/** What an import from GGUF wrote. */
export interface ImportedGguf {
  kind: "imported";
  model: GgufModel;
  /** content of config.json */
  config: Record<string, unknown>;
  /** types of the tensors in the file, with their numbers */
  types: Record<string, number>;
  files: string[];
}

/** Progress of an import from GGUF; the last event is `imported`. */
export type ImportGgufEvent = { kind: "opened"; tensors: number; bytes: number } | WriteProgress | ImportedGguf;

const CHAT_TEMPLATE = "chat_template.jinja";
const CARD = "README.md";

/**
 * Imports a model; the last event is `imported`.
 * @param path of the file, or of the first of several
 * @throws GgufError for a file that is damaged or holds a model that is not supported; ModelError, SafetensorsError if
 * the folder cannot be written. The folder is then unchanged
 */
export async function* importGguf(
  path: string,
  { out, dtype, maxShardBytes }: ImportGgufOptions,
): AsyncGenerator<ImportGgufEvent, void> {
  const gguf = await openGguf(path);
  let isWritten = false;
  try {
    const model = await planModel(gguf);
    const types: Record<string, number> = {};
    for (const { type } of gguf.tensors.values()) types[type.name] = (types[type.name] ?? 0) + 1;
    const sources = tensorSources(gguf, model.tensors, dtype);
    const config = { ...model.config, dtype: dtypeOf(sources) };
    await prepareFolder(out);
    const files: string[] = [];
    const texts = new Map(model.texts);
    if (await hasOwnCard(out)) texts.delete(CARD);
    for await (const event of writeModelFolder(out, { model: sources, config, texts, maxShardBytes })) {
      if (event.kind === "saved") files.push(...event.files);
      else yield event;
    }
    isWritten = true;
    // A template that an earlier model left would be taken for this one's.
    if (!texts.has(CHAT_TEMPLATE)) await rm(join(out, CHAT_TEMPLATE), { force: true });
    yield { kind: "imported", model, config, types, files };
  } finally {
    await gguf.close();
    // Fails, as intended, if the folder has other files.
    if (!isWritten) await rmdir(out).catch(() => {});
  }
}

/** Whether the folder has a README.md that no import wrote. */
async function hasOwnCard(folder: string): Promise<boolean> {
  const card = await readFile(join(folder, CARD), "utf8").catch(() => undefined);
  return card !== undefined && !card.includes(IMPORTED);
}

const NAMES: Readonly<Record<string, string>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };

/** The type of most weights, as transformers names it. */
function dtypeOf(sources: readonly TensorSource[]): string {
  const sizes = new Map<string, number>();
  for (const { dtype, shape } of sources) {
    sizes.set(dtype, (sizes.get(dtype) ?? 0) + shape.reduce((size, side) => size * side, 1));
  }
  const [most] = [...sizes].sort(([, a], [, b]) => b - a);
  return NAMES[most?.[0] ?? "F32"] as string;
}
