// Finds the newest checkpoint that is whole: its state is as states are, its tensors have the size and the SHA-256 that
// the state names. Newer ones that are not are passed over, with the reason.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Variable } from "@tensorflow/tfjs-core";
import { reason } from "../../../hub/files/byte-source.ts";
import { openSafetensors } from "../../../hub/safetensors/index.ts";
import { jsonOrUndefined } from "../../../hub/text/json.ts";
import { RunError } from "../errors.ts";
import { stepsIn } from "./save.ts";
import { CHECKPOINT_STATE, type CheckpointState, checkpointVersionProblem, nameOf, type RunState } from "./state.ts";
import { assignAll, digestOf } from "./tensors.ts";

export interface FoundCheckpoint {
  /** of the state */
  path: string;
  run: RunState;
  /** puts the tensors into these variables. @throws RunError when they do not fit; none is changed then */
  restore(variables: ReadonlyMap<string, Variable>): Promise<void>;
}

export interface Found {
  checkpoint: FoundCheckpoint | undefined;
  /** newer checkpoints that are not whole, one line each */
  passedOver: string[];
}

/** @throws RunError for a checkpoint of a version that is not known */
export async function findCheckpoint(folder: string): Promise<Found> {
  const names = await readdir(folder).catch(() => []);
  const passedOver: string[] = [];
  for (const step of stepsIn(names)) {
    const path = join(folder, nameOf(step, "json"));
    try {
      return { checkpoint: await openCheckpoint(folder, path), passedOver };
    } catch (error) {
      // Of another version it may well be whole: an older one must not take its place unasked.
      if (error instanceof RunError) throw error;
      passedOver.push(`${path}: ${reason(error).replaceAll("\n", " ")}`);
    }
  }
  return { checkpoint: undefined, passedOver };
}

async function openCheckpoint(folder: string, path: string): Promise<FoundCheckpoint> {
  const json = jsonIn(await readFile(path, "utf8"));
  const problem = checkpointVersionProblem(json);
  if (problem !== undefined) throw new RunError(`${path}: ${problem}`);
  const parsed = CHECKPOINT_STATE.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(`is no checkpoint: ${[issue?.path.join("."), issue?.message].filter(Boolean).join(" ")}`);
  }
  const { tensors, run } = parsed.data;
  const file = join(folder, tensors.file);
  await verify(file, tensors);
  const restore = async (variables: ReadonlyMap<string, Variable>) => {
    const open = await openSafetensors(file);
    try {
      await assignAll(open, variables, file);
    } finally {
      await open.close();
    }
  };
  return { path, run, restore };
}

function jsonIn(text: string): unknown {
  const json = jsonOrUndefined(text);
  if (json === undefined) throw new Error("is not JSON");
  return json;
}

async function verify(path: string, { bytes, sha256 }: CheckpointState["tensors"]): Promise<void> {
  const { size } = await stat(path);
  if (size !== bytes) throw new Error(`its tensors are ${size} bytes, were ${bytes}`);
  const file = await openSafetensors(path);
  try {
    if ((await digestOf(file)) !== sha256) throw new Error("its tensors are not those that were saved");
  } finally {
    await file.close();
  }
}
