// A checkpoint of the reference implementation made into a model folder: its tensors checked against the architecture,
// GBLR layers packed for inference and kept for training too. Nothing of the checkpoint is run.

import { randomBytes } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { writeFileAtomically } from "../../../hub/atomic-file.ts";
import { type Checkpoint, openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { CONFIG_FILE, ModelError } from "../../../hub/model-folder/index.ts";
import { type TensorSource, toFloat32, writeModel } from "../../../hub/safetensors/index.ts";
import { loadModelNow } from "../load.ts";
import { type SaveOptions, saveModel } from "../save.ts";
import { findSetting, isBoolean } from "./hyper-parameters.ts";
import type { ReadingOptions, ReferenceCheckpoint } from "./reader.ts";
import { readerFor } from "./readers.ts";

export interface ImportReferenceOptions extends ReadingOptions, Pick<SaveOptions, "base"> {
  /** the model folder, which must not be there yet */
  out: string;
  /** whether masks have a Gaussian, where the hyper-parameters do not say. Default false */
  gaussian?: boolean | undefined;
}

export type ImportReferenceEvent =
  /** `bytes` of one more tensor are read and checked, of `total` */
  | { kind: "checking"; tensor: string; bytes: number; total: number }
  | { kind: "converting"; layers: number }
  /** last of all; `heads` and the like are as config.json has them */
  | { kind: "converted"; folder: string; config: Record<string, unknown> };

/** What the trainer's wrapper puts before the model's names. */
const WRAPPER = "model.";

/**
 * Needs an open engine.
 * @param file a .ckpt, .pth, .pt or .bin
 * @throws CheckpointError for a file that is damaged or would run code; ModelError for tensors that are missing, too
 * many, misshapen or not finite. Nothing is left behind then.
 */
export async function* importReference(
  file: string,
  options: ImportReferenceOptions,
): AsyncGenerator<ImportReferenceEvent, void> {
  const { out } = options;
  await mkdir(dirname(out), { recursive: true });
  const stage = join(dirname(out), `.${basename(out)}.${randomBytes(6).toString("hex")}.tmp`);
  await mkdir(stage);
  try {
    const config = yield* stageModel(file, stage, options);
    const model = await loadModelNow(stage);
    try {
      const layers = [...model.layers.values()].filter(({ structure }) => structure.name === "gblr").length;
      yield { kind: "converting", layers };
      const done = join(stage, "model");
      for await (const _ of saveModel(model, done, { trainable: true, ...(options.base && { base: options.base }) }));
      await rename(done, out);
    } finally {
      model.dispose();
    }
    yield { kind: "converted", folder: out, config };
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/** Writes the checkpoint's tensors and a config.json as a model that can be loaded. */
async function* stageModel(
  file: string,
  stage: string,
  { heads, gaussian = false }: ImportReferenceOptions,
): AsyncGenerator<ImportReferenceEvent, Record<string, unknown>> {
  const checkpoint = await openCheckpoint(file);
  try {
    const names = modelNames(checkpoint);
    const seen = unwrapped(checkpoint, names, file);
    const config = readerFor(seen.tensors, file).config(seen, { heads });
    yield* checkFinite(checkpoint, [...names.values()], file);
    const gblr = await gblrPart(checkpoint, { names, seen, gaussian });
    await writeFileAtomically(join(stage, CONFIG_FILE), JSON.stringify({ ...config, gblr }));
    const sources = Array.from(names, ([name, stored]): TensorSource => {
      const { dtype, shape } = seen.tensors.get(name) as { dtype: TensorSource["dtype"]; shape: readonly number[] };
      return { name, dtype, shape, data: () => checkpoint.chunks(stored) };
    });
    for await (const _ of writeModel(stage, sources, { metadata: { format: "pt" } }));
    return { ...config, gblr };
  } finally {
    await checkpoint.close();
  }
}

/** The model's own tensors: name to name in the checkpoint. Others, such as a loss's, are the trainer's. */
function modelNames({ tensors }: Checkpoint): Map<string, string> {
  const wrapped = [...tensors.keys()].filter((name) => name.startsWith(WRAPPER));
  if (wrapped.length === 0) return new Map(Array.from(tensors.keys(), (name) => [name, name]));
  return new Map(wrapped.map((name) => [name.slice(WRAPPER.length), name]));
}

function unwrapped({ tensors, rest, tied }: Checkpoint, names: ReadonlyMap<string, string>, file: string) {
  const own = new Map(Array.from(names, ([name, stored]) => [stored, name]));
  const infos = Array.from(names, ([name, stored]) => [name, tensors.get(stored)] as const);
  const ties = Array.from(tied, ([from, to]) => [own.get(from), own.get(to)] as const);
  return {
    file,
    rest,
    tensors: new Map(infos),
    tied: new Map(ties.filter(([from, to]) => from !== undefined && to !== undefined)),
  } as ReferenceCheckpoint;
}

const FLOATS = new Set(["F64", "F32", "F16", "BF16"]);

/** Smoothness can be without bound. */
const mayBeInfinite = (name: string): boolean => name.endsWith(".sigma");

async function* checkFinite(
  checkpoint: Checkpoint,
  names: readonly string[],
  file: string,
): AsyncGenerator<ImportReferenceEvent, void> {
  const total = names.reduce((sum, name) => sum + (checkpoint.tensors.get(name)?.byteLength ?? 0), 0);
  for (const name of names) {
    const stored = await checkpoint.read(name);
    if (FLOATS.has(stored.dtype) && !mayBeInfinite(name)) {
      const bad = toFloat32(stored).findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) throw new ModelError(`value ${bad} is not finite`, { file, tensor: name });
    }
    yield { kind: "checking", tensor: name, bytes: stored.data.byteLength, total };
  }
}

interface GblrPartOptions {
  names: ReadonlyMap<string, string>;
  seen: ReferenceCheckpoint;
  gaussian: boolean;
}

/** "gblr" of config.json: which layers are structured, and how smooth their masks are. */
async function gblrPart(checkpoint: Checkpoint, { names, seen, gaussian }: GblrPartOptions) {
  const layers: Record<string, unknown> = {};
  let sigma: number | undefined;
  const without = findSetting(seen.rest.hyper_parameters ?? {}, ["no_gaussian"], isBoolean);
  for (const [name, { shape }] of seen.tensors) {
    if (!name.endsWith(".lr_weight1")) continue;
    const layer = name.slice(0, -".lr_weight1".length);
    const nOut = seen.tensors.get(`${layer}.lr_weight2`)?.shape[1];
    if (nOut === undefined) throw new ModelError("is missing", { file: seen.file, tensor: `${layer}.lr_weight2` });
    layers[layer] = { structure: "gblr", n_in: shape[2], n_out: nOut, blocks: shape[0] };
    if (!(without === undefined ? gaussian : !without)) continue;
    const stored = names.get(`${layer}.sigma`);
    const [value] = stored === undefined ? [] : toFloat32(await checkpoint.read(stored));
    if (value === undefined || !(value > 0) || (sigma !== undefined && sigma !== value)) {
      const must = sigma === undefined ? "must be there and positive" : `must be ${sigma}, as in the other layers`;
      throw new ModelError(`${must}, is ${value ?? "missing"}`, { file: seen.file, tensor: `${layer}.sigma` });
    }
    sigma = value;
  }
  return { structure: "gblr", ...(sigma !== undefined && Number.isFinite(sigma) && { sigma }), layers };
}
