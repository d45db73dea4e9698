// What a checkpoint says beside its tensors, and how it is checked when it is read back. The tensors are in a file of
// their own; the state names it, its size and its SHA-256, and is written after it: a checkpoint is there when its state
// is.

import { z } from "zod";
import { isJsonObject, versionProblem } from "../../../hub/text/json.ts";

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

/** What is wrong with the version of what is a checkpoint, else undefined. */
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
