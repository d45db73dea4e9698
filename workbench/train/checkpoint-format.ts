// The format of checkpoints. One file holds the tensors: all parameters of the model and the moments of the trained ones,
// read from the device one at a time while they are written. A second file holds the state and names the first one with its
// size and SHA-256. The state is written last, so a checkpoint exists if its state exists.

import { createHash, type Hash } from "node:crypto";
import { tensor, type Variable } from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { TensorFile, TensorSource } from "../../hub/safetensors/index.ts";
import { isJsonObject, versionProblem } from "../../hub/text/json.ts";
import type { Model } from "../models/model.ts";
import { RunError } from "./events.ts";
import type { Optimizer } from "./optimizer.ts";
import type { StructureLearning } from "./structure.ts";

const count = z.int().min(0);
const setting = z.union([z.string(), z.number(), z.boolean(), z.null()]);

const RUN_STATE = z.object({
  /** optimizer steps done; with the seed this is where data, schedules and random numbers stand */
  step: count,
  /** of the next step */
  epoch: count,
  /** of the next step, within the epoch */
  batch: count,
  seed: count,
  /** the last step after which the model was evaluated; -1: never */
  evaluatedAt: z.int().min(-1),
  /** of training so far */
  seconds: z.number().min(0),
  /** length of metrics.jsonl */
  metricsBytes: count,
  /** of the masks; null: not set, `Infinity` as text */
  sigma: z.union([z.number(), z.literal("Infinity"), z.null()]),
  /** of the shrink rule */
  shrink: z.record(z.string(), z.union([z.number(), z.boolean()])),
  /** widths and locations learn no more */
  frozen: z.boolean(),
  settings: z.record(z.string(), setting),
  /** SHA-256 of the settings */
  settingsHash: z.string(),
});

export const CHECKPOINT_FORMAT = "gblr-training-checkpoint";
export const CHECKPOINT_VERSION = 1;

export const CHECKPOINT_STATE = z.object({
  format: z.literal(CHECKPOINT_FORMAT),
  version: z.literal(CHECKPOINT_VERSION),
  tensors: z.object({ file: z.string(), bytes: count, sha256: z.string() }),
  run: RUN_STATE,
});

/** What is wrong with the version of a checkpoint; undefined if nothing is wrong or the JSON is no checkpoint. */
export function checkpointVersionProblem(json: unknown): string | undefined {
  if (!isJsonObject(json) || json.format !== CHECKPOINT_FORMAT || json.version === CHECKPOINT_VERSION) return undefined;
  return `version ${versionProblem(CHECKPOINT_VERSION, json.version)}, or start anew`;
}

export type RunState = z.infer<typeof RUN_STATE>;
export type CheckpointState = z.infer<typeof CHECKPOINT_STATE>;

/** Numbers in names have ten digits, so that names sort as steps do. */
const NAME = /^step-(\d{10})\.(json|safetensors)$/;

export const nameOf = (step: number, kind: "json" | "safetensors"): string =>
  `step-${String(step).padStart(10, "0")}.${kind}`;

/** The step of a file of a checkpoint; undefined for any other file. */
export function stepOf(name: string): number | undefined {
  const match = NAME.exec(name);
  return match ? Number(match[1]) : undefined;
}

/** Every variable by its name in the file. */
export function checkpointVariables(
  model: Model,
  optimizer: Optimizer,
  structure: StructureLearning | undefined,
): Map<string, Variable> {
  const found = new Map<string, Variable>(structure?.variables());
  for (const [name, parameter] of model.parameters) found.set(`parameter/${name}`, parameter);
  for (const { name, moments } of optimizer.learned) {
    found.set(`first/${name}`, moments[0]);
    found.set(`second/${name}`, moments[1]);
  }
  return found;
}

/** Sources for the writer, which takes each once; `digest` is of all bytes in the order in which they were taken. */
export function hashedSources(variables: ReadonlyMap<string, Variable>): {
  sources: TensorSource[];
  digest: () => string;
} {
  const hash = createHash("sha256");
  const sources = Array.from(variables, ([name, variable]): TensorSource => {
    const { shape, dtype } = variable;
    return { name, shape, dtype: dtype === "int32" ? "I32" : "F32", data: () => hashed(variable, hash) };
  });
  return { sources, digest: () => hash.digest("hex") };
}

async function* hashed(variable: Variable, hash: Hash): AsyncGenerator<Uint8Array> {
  const values = await variable.data();
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  hash.update(bytes);
  yield bytes;
}

/** Of the bytes of all tensors in the file's order, which is the order in which they were written. */
export async function digestOf(file: TensorFile): Promise<string> {
  const hash = createHash("sha256");
  for (const name of file.tensors.keys()) for await (const piece of file.chunks(name)) hash.update(piece);
  return hash.digest("hex");
}

/** @throws RunError where the file does not hold exactly these variables; none is changed then */
export async function assignAll(
  file: TensorFile,
  variables: ReadonlyMap<string, Variable>,
  path: string,
): Promise<void> {
  for (const [name, { shape, dtype }] of variables) {
    const info = file.tensors.get(name);
    const fits = info?.shape.join() === shape.join() && info?.dtype === (dtype === "int32" ? "I32" : "F32");
    if (!fits) throw new RunError(`${path}: "${name}" is not there as ${dtype} (${shape.join(", ")}); start anew`);
  }
  for (const [name, variable] of variables) {
    const { data, shape } = await file.read(name);
    const values = tensor(data as Float32Array | Int32Array, [...shape], variable.dtype as "float32" | "int32");
    variable.assign(values);
    values.dispose();
  }
}
