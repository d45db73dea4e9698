// Imports a checkpoint of the reference implementation as a model folder. Its tensors are checked against the
// architecture; GBLR layers are packed for inference and also kept for training. No code of the checkpoint is run.

import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Checkpoint, openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { CONFIG_FILE, ModelError } from "../../../hub/model-folder/index.ts";
import { type TensorSource, toFloat32, writeModel } from "../../../hub/safetensors/index.ts";
import type { ReadingOptions } from "../../architectures/architecture.ts";
import { loadModelNow } from "../folder/load.ts";
import { type SaveOptions, saveModel } from "../folder/save.ts";
import type { Model } from "../model.ts";
import { gblrPart, type ReadCheckpoint, type ReferenceArchitecture, readTensors } from "./checkpoint-tensors.ts";

export interface ImportReferenceOptions extends ReadingOptions, Pick<SaveOptions, "base" | "maxShardBytes"> {
  /** the model folder, created if missing; a model in it is replaced */
  out: string;
  /** whether masks have a Gaussian, if the hyper-parameters do not say. Default as in the published model */
  gaussian?: boolean | undefined;
  /** `model_type` that it must have. Default any */
  type?: string | undefined;
  /** whether trainable.safetensors is written too. Default true */
  trainable?: boolean | undefined;
}

/** Progress of an import. */
export type ImportReferenceEvent =
  /** a tensor has been read and checked */
  | CheckedTensor
  | { kind: "converting"; layers: number }
  /** the last event, with the content of config.json */
  | { kind: "converted"; folder: string; config: Record<string, unknown> };

/**
 * Imports a checkpoint as a model folder. An engine must be open.
 * @param file a .ckpt, .pth, .pt or .bin
 * @throws CheckpointError if the file is damaged or would run code; ModelError if a tensor is missing or unexpected,
 * has a wrong shape or a value that is not finite. The folder is then unchanged.
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
    const { architecture, config } = yield* stageModel(file, stage, options);
    const model = await loaded(stage, { file, architecture });
    try {
      const layers = [...model.layers.values()].filter(({ structure }) => structure.hasWidths).length;
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
  architecture: ReferenceArchitecture;
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
    const { architecture, seen, names } = read;
    const { weights, reference } = architecture;
    if (type !== undefined && architecture.type !== type) {
      throw new ModelError(`is a ${architecture.type}, no ${type}`, { file });
    }
    const plain = weights.config(seen, { heads });
    yield* checkValues(checkpoint, read);
    const gblr = await gblrPart(checkpoint, read, gaussian ?? reference.gaussian);
    const config = { ...plain, ...(Object.keys(gblr.layers).length > 0 && { gblr }) };
    await writeFileAtomically(join(stage, CONFIG_FILE), JSON.stringify(config));
    const sources = Array.from(names, ([name, stored]): TensorSource => {
      const { dtype, shape } = seen.tensors.get(name) as { dtype: TensorSource["dtype"]; shape: readonly number[] };
      return { name, dtype, shape, data: () => checkpoint.chunks(stored) };
    });
    for await (const _ of writeModel(stage, sources, { metadata: { format: "pt" } }));
    return { architecture, config };
  } finally {
    await checkpoint.close();
  }
}

/**
 * Loads the staged model. Errors about staged files are reported as errors of the checkpoint, with its names of
 * tensors.
 */
async function loaded(
  stage: string,
  { file, architecture }: { file: string; architecture: ReferenceArchitecture },
): Promise<Model> {
  try {
    return await loadModelNow(stage);
  } catch (error) {
    if (!(error instanceof ModelError) || !error.file.startsWith(stage)) throw error;
    const problem = error.message.slice(error.file.length + 2);
    const told = problem.replace(/^(tensor|layer) "([^"]*)"/, (_, what, name) => {
      return `${what} ${JSON.stringify(architecture.reference.names?.toTheirs(name) ?? name)}`;
    });
    throw new ModelError(told, { file }, { cause: error });
  }
}

/** A tensor whose values have been checked. */
export interface CheckedTensor {
  kind: "checking";
  tensor: string;
  /** size of this tensor */
  bytes: number;
  /** size of all tensors */
  total: number;
}

const FLOATS = new Set(["F64", "F32", "F16", "BF16"]);

/**
 * Checks that all values are finite. Widths and locations may be outside [0, 1]: the reference's trainer does not clamp
 * them after every step, and masks are defined for such values too.
 * @throws ModelError naming the tensor and the value
 */
async function* checkValues(
  checkpoint: Checkpoint,
  { seen, names }: Pick<ReadCheckpoint, "seen" | "names">,
): AsyncGenerator<CheckedTensor, void> {
  const { file, tensors } = seen;
  const total = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  for (const [name, stored] of names) {
    const tensor = await checkpoint.read(stored);
    // σ may be infinite.
    if (FLOATS.has(tensor.dtype) && !name.endsWith(".sigma")) {
      const values = toFloat32(tensor);
      const bad = values.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) throw new ModelError(`value ${bad} is not finite`, { file, tensor: stored });
    }
    yield { kind: "checking", tensor: stored, bytes: tensor.data.byteLength, total };
  }
}
