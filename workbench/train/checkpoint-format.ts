// The format of checkpoints. Files of tensors contain all parameters of the model and the moments of the trained ones, or
// with adapters only these, the buffers and the parameters that are trained in full, with their moments. One process
// writes one file of tensors. Of several, the first one writes the parameters, and each one the moments of those that it
// owns. Tensors are read from the device one at a time during writing. A last file contains the state, and the name, size
// and SHA-256 of each file of tensors. It is written when all others are complete, so a checkpoint exists if its state
// exists.

import { createHash, type Hash } from "node:crypto";
import { tensor, type Variable } from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { TensorFile, TensorSource } from "../../hub/safetensors/index.ts";
import { isJsonObject, versionProblem } from "../../hub/text/json.ts";
import { MEASURED_FORMS } from "../structures/inference/kept-forms.ts";
import { RunError } from "./events.ts";
import type { Optimizer } from "./optimizer.ts";
import type { StructureLearning } from "./structure.ts";

const count = z.int().min(0);
const setting = z.union([z.string(), z.number(), z.boolean(), z.null()]);

export const RUN_STATE = z.object({
  /** completed optimizer steps; with the seed it determines data order, schedules and random numbers */
  step: count,
  /** epoch of the next step */
  epoch: count,
  /** batch of the next step within the epoch */
  batch: count,
  seed: count,
  /** the last step after which the model was evaluated; -1 if never */
  evaluatedAt: z.int().min(-1),
  /** training time so far */
  seconds: z.number().min(0),
  /** length of metrics.jsonl */
  metricsBytes: count,
  /** sigma of the masks; null if not set, `Infinity` as text */
  sigma: z.union([z.number(), z.literal("Infinity"), z.null()]),
  /** state of the shrink rule */
  shrink: z.record(z.string(), z.union([z.number(), z.boolean()])),
  /** whether widths and locations are no longer trained */
  frozen: z.boolean(),
  /** measured forms of large layers in evaluations, so that those after resuming have the same rounding */
  forms: MEASURED_FORMS.optional(),
  /** positions in data that is read in order, by the number of the micro-batch */
  data: z.record(z.string(), z.unknown()).optional(),
  settings: z.record(z.string(), setting),
  /** SHA-256 of the settings */
  settingsHash: z.string(),
});

export const CHECKPOINT_FORMAT = "gblr-training-checkpoint";
/** The version of checkpoints that several processes have written, and the last one. */
const SHARDED_VERSION = 2;

const file = { file: z.string(), bytes: count, sha256: z.string() };

/** A file of tensors, and the process that has written it if there were several. */
export const TENSORS = z.object({ ...file, rank: count.optional() });
export type TensorsFile = z.infer<typeof TENSORS>;

const state = { format: z.literal(CHECKPOINT_FORMAT), run: RUN_STATE };
export const CHECKPOINT_STATE = z.discriminatedUnion("version", [
  z.object({ ...state, version: z.literal(1), tensors: z.object(file) }),
  z.object({ ...state, version: z.literal(SHARDED_VERSION), tensors: z.array(TENSORS).min(1) }),
]);

/** The state of a checkpoint, in the version that its files need. */
export function stateOf(run: RunState, tensors: readonly TensorsFile[]): CheckpointState {
  const [only] = tensors as [TensorsFile];
  const isWhole = tensors.length === 1 && only.rank === undefined;
  const format = CHECKPOINT_FORMAT;
  return isWhole
    ? { format, version: 1, tensors: only, run }
    : { format, version: SHARDED_VERSION, tensors: [...tensors], run };
}

/** The problem with the version of a checkpoint; undefined if there is none or the JSON is not a checkpoint. */
export function checkpointVersionProblem(json: unknown): string | undefined {
  if (!isJsonObject(json) || json.format !== CHECKPOINT_FORMAT) return undefined;
  if (json.version === 1 || json.version === SHARDED_VERSION) return undefined;
  return `version ${versionProblem(SHARDED_VERSION, json.version)}, or start a new run`;
}

export type RunState = z.infer<typeof RUN_STATE>;
export type CheckpointState = z.infer<typeof CHECKPOINT_STATE>;

/** Steps in file names have ten digits, so that names sort in the order of steps. */
const NAME = /^step-(\d{10})\.(json|(optimizer-\d{5}-of-\d{5}\.)?safetensors)$/;

/** The name of a checkpoint's file. */
export const nameOf = (step: number, kind: string): string => `step-${String(step).padStart(10, "0")}.${kind}`;

/** The name of the file with the moments that one of several processes owns. */
export function shardNameOf(step: number, { rank, size }: { rank: number; size: number }): string {
  const [number, count] = [rank + 1, size].map((each) => String(each).padStart(5, "0"));
  return nameOf(step, `optimizer-${number}-of-${count}.safetensors`);
}

/** The step in the name of a checkpoint's file; undefined for other files. */
export function stepOf(name: string): number | undefined {
  const match = NAME.exec(name);
  return match ? Number(match[1]) : undefined;
}

/** The variables of a checkpoint, by their names in its files. */
export interface CheckpointVariables {
  /** parameters and what the shrink rule has read: alike on all processes */
  common: Map<string, Variable>;
  /** the moments that this process keeps */
  moments: Map<string, Variable>;
  /** those of them that it saves: of the parameters that it owns */
  own: Map<string, Variable>;
}

/** All variables of a checkpoint that this process has. */
export function checkpointVariables(
  optimizer: Optimizer,
  structure: StructureLearning | undefined,
): CheckpointVariables {
  const found = { common: new Map(structure?.variables()), moments: new Map(), own: new Map() };
  for (const [name, parameter] of optimizer.changing) found.common.set(`parameter/${name}`, parameter);
  for (const { name, parameter, moments } of optimizer.learned) {
    found.common.set(`parameter/${name}`, parameter);
    if (!moments) continue;
    for (const map of optimizer.isOwn(parameter) ? [found.moments, found.own] : [found.moments]) {
      map.set(`first/${name}`, moments[0]);
      map.set(`second/${name}`, moments[1]);
    }
  }
  return found;
}

/** Sources for the writer, which reads each once. `digest` is the hash of all bytes in the order of reading. */
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

/** The hash of the bytes of all tensors in the file's order, which is the order of writing. */
export async function digestOf(file: TensorFile): Promise<string> {
  const hash = createHash("sha256");
  for (const name of file.tensors.keys()) for await (const piece of file.chunks(name)) hash.update(piece);
  return hash.digest("hex");
}

/**
 * Assigns the tensors of files to variables.
 * @param path of a file, which errors name
 * @throws RunError when a variable is in no file or has another shape or type; no variable is changed then
 */
export async function assignAll(
  files: readonly TensorFile[],
  variables: ReadonlyMap<string, Variable>,
  path: string,
): Promise<void> {
  const found = Array.from(variables, ([name, variable]) => {
    const { shape, dtype } = variable;
    const fits = ({ tensors }: TensorFile) => {
      const info = tensors.get(name);
      return info?.shape.join() === shape.join() && info?.dtype === (dtype === "int32" ? "I32" : "F32");
    };
    const file = files.find(fits);
    if (!file) throw new RunError(`${path}: "${name}" is missing as ${dtype} (${shape.join(", ")}); start a new run`);
    return { name, variable, file };
  });
  for (const { name, variable, file } of found) {
    const { data, shape } = await file.read(name);
    const values = tensor(data as Float32Array | Int32Array, [...shape], variable.dtype as "float32" | "int32");
    variable.assign(values);
    values.dispose();
  }
}
