// The format of checkpoints. One file contains the tensors: all parameters of the model and the moments of the trained
// ones, or with adapters only these, the buffers and the parameters that are trained in full, with their moments.
// Tensors are read from the device one at a time during writing. A second file contains the state, and the name, size
// and SHA-256 of the first file. The state is written last, so a checkpoint exists if its state exists.

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

/** The problem with the version of a checkpoint; undefined if there is none or the JSON is not a checkpoint. */
export function checkpointVersionProblem(json: unknown): string | undefined {
  if (!isJsonObject(json) || json.format !== CHECKPOINT_FORMAT || json.version === CHECKPOINT_VERSION) return undefined;
  return `version ${versionProblem(CHECKPOINT_VERSION, json.version)}, or start a new run`;
}

export type RunState = z.infer<typeof RUN_STATE>;
export type CheckpointState = z.infer<typeof CHECKPOINT_STATE>;

/** Steps in file names have ten digits, so that names sort in the order of steps. */
const NAME = /^step-(\d{10})\.(json|safetensors)$/;

/** The name of a checkpoint's file. */
export const nameOf = (step: number, kind: "json" | "safetensors"): string =>
  `step-${String(step).padStart(10, "0")}.${kind}`;

/** The step in the name of a checkpoint's file; undefined for other files. */
export function stepOf(name: string): number | undefined {
  const match = NAME.exec(name);
  return match ? Number(match[1]) : undefined;
}

/** All variables of a checkpoint, by their names in the file. */
export function checkpointVariables(
  optimizer: Optimizer,
  structure: StructureLearning | undefined,
): Map<string, Variable> {
  const found = new Map<string, Variable>(structure?.variables());
  for (const [name, parameter] of optimizer.changing) found.set(`parameter/${name}`, parameter);
  for (const { name, parameter, moments } of optimizer.learned) {
    found.set(`parameter/${name}`, parameter);
    found.set(`first/${name}`, moments[0]);
    found.set(`second/${name}`, moments[1]);
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
 * Assigns the tensors of a file to variables.
 * @throws RunError when a variable is missing from the file or has another shape or type; no variable is changed then
 */
export async function assignAll(
  file: TensorFile,
  variables: ReadonlyMap<string, Variable>,
  path: string,
): Promise<void> {
  for (const [name, { shape, dtype }] of variables) {
    const info = file.tensors.get(name);
    const fits = info?.shape.join() === shape.join() && info?.dtype === (dtype === "int32" ? "I32" : "F32");
    if (!fits) throw new RunError(`${path}: "${name}" is missing as ${dtype} (${shape.join(", ")}); start a new run`);
  }
  for (const [name, variable] of variables) {
    const { data, shape } = await file.read(name);
    const values = tensor(data as Float32Array | Int32Array, [...shape], variable.dtype as "float32" | "int32");
    variable.assign(values);
    values.dispose();
  }
}
