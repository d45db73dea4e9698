// A checkpoint of the reference implementation made into a model folder: its tensors checked against the architecture,
// GBLR layers packed for inference and kept for training too. Nothing of the checkpoint is run.

import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { CONFIG_FILE, ModelError } from "../../../hub/model-folder/index.ts";
import { type TensorSource, writeModel } from "../../../hub/safetensors/index.ts";
import type { ReadingOptions, ReferenceReader } from "../../architectures/reader.ts";
import { loadModelNow } from "../folder/load.ts";
import { type SaveOptions, saveModel } from "../folder/save.ts";
import type { Model } from "../model.ts";
import { type CheckedTensor, checkValues } from "./check-values.ts";
import { readTensors } from "./checkpoint-tensors.ts";
import { gblrPart } from "./stored-masks.ts";

export interface ImportReferenceOptions extends ReadingOptions, Pick<SaveOptions, "base" | "maxShardBytes"> {
  /** the model folder, made if it is not there; a model in it is replaced */
  out: string;
  /** whether masks have a Gaussian, where the hyper-parameters do not say. Default as in the published model */
  gaussian?: boolean | undefined;
  /** `model_type` that it must be of. Default any */
  type?: string | undefined;
  /** whether trainable.safetensors is written too. Default true */
  trainable?: boolean | undefined;
}

export type ImportReferenceEvent =
  /** one more tensor is read and checked */
  | CheckedTensor
  | { kind: "converting"; layers: number }
  /** last of all; `heads` and the like are as config.json has them, `layers` and `sigma` in its "gblr" */
  | { kind: "converted"; folder: string; config: Record<string, unknown> };

/**
 * Needs an open engine.
 * @param file a .ckpt, .pth, .pt or .bin
 * @throws CheckpointError for a file that is damaged or would run code; ModelError for tensors that are missing, too
 * many, misshapen or not finite. What was in the folder is then as it was.
 */
export async function* importReference(
  file: string,
  options: ImportReferenceOptions,
): AsyncGenerator<ImportReferenceEvent, void> {
  const { out, trainable = true, base, maxShardBytes } = options;
  await mkdir(dirname(out), { recursive: true });
  const stage = join(dirname(out), `.${basename(out)}.${randomBytes(6).toString("hex")}.tmp`);
  await mkdir(stage);
  try {
    const { reader, config } = yield* stageModel(file, stage, options);
    const model = await loaded(stage, { file, reader });
    try {
      const layers = [...model.layers.values()].filter(({ structure }) => structure.name === "gblr").length;
      yield { kind: "converting", layers };
      const settings = { trainable, ...(base && { base }), ...(maxShardBytes !== undefined && { maxShardBytes }) };
      for await (const _ of saveModel(model, out, settings));
    } finally {
      model.dispose();
    }
    yield { kind: "converted", folder: out, config };
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

interface Staged {
  reader: ReferenceReader;
  config: Record<string, unknown>;
}

/** Writes the checkpoint's tensors and a config.json as a model that can be loaded. */
async function* stageModel(
  file: string,
  stage: string,
  { heads, gaussian, type }: ImportReferenceOptions,
): AsyncGenerator<ImportReferenceEvent, Staged> {
  const checkpoint = await openCheckpoint(file);
  try {
    const read = readTensors(checkpoint, file);
    const { reader, seen, names } = read;
    if (type !== undefined && reader.type !== type) throw new ModelError(`is a ${reader.type}, no ${type}`, { file });
    const plain = reader.config(seen, { heads });
    yield* checkValues(checkpoint, read);
    const gblr = await gblrPart(checkpoint, read, gaussian ?? reader.gaussian);
    const config = { ...plain, ...(Object.keys(gblr.layers).length > 0 && { gblr }) };
    await writeFileAtomically(join(stage, CONFIG_FILE), JSON.stringify(config));
    const sources = Array.from(names, ([name, stored]): TensorSource => {
      const { dtype, shape } = seen.tensors.get(name) as { dtype: TensorSource["dtype"]; shape: readonly number[] };
      return { name, dtype, shape, data: () => checkpoint.chunks(stored) };
    });
    for await (const _ of writeModel(stage, sources, { metadata: { format: "pt" } }));
    return { reader, config };
  } finally {
    await checkpoint.close();
  }
}

/** What is wrong with the staged files is wrong with the checkpoint, and is told by its names. */
async function loaded(stage: string, { file, reader }: { file: string; reader: ReferenceReader }): Promise<Model> {
  try {
    return await loadModelNow(stage);
  } catch (error) {
    if (!(error instanceof ModelError) || !error.file.startsWith(stage)) throw error;
    const problem = error.message.slice(error.file.length + 2);
    const told = problem.replace(/^(tensor|layer) "([^"]*)"/, (_, what, name) => {
      return `${what} ${JSON.stringify(reader.names?.toTheirs(name) ?? name)}`;
    });
    throw new ModelError(told, { file }, { cause: error });
  }
}
