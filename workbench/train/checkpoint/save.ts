// Saves a checkpoint so that a kill at any moment leaves a whole one: tensors first, then the state that names them, and
// only then are older ones removed.

import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Variable } from "@tensorflow/tfjs-core";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { reason } from "../../../hub/files/byte-source.ts";
import { writeSafetensors } from "../../../hub/safetensors/index.ts";
import { RunError } from "../errors.ts";
import { CHECKPOINT_FORMAT, CHECKPOINT_VERSION, type CheckpointState, nameOf, type RunState, stepOf } from "./state.ts";
import { hashedSources } from "./tensors.ts";

/**
 * @param folder made if it is not there
 * @returns the path of the state
 * @throws RunError when the disk does not take it; what was there is then as it was
 */
export async function saveCheckpoint(
  folder: string,
  { run, variables, keep }: { run: RunState; variables: ReadonlyMap<string, Variable>; keep: number },
): Promise<string> {
  const path = join(folder, nameOf(run.step, "json"));
  try {
    await mkdir(folder, { recursive: true });
    const file = nameOf(run.step, "safetensors");
    const { sources, digest } = hashedSources(variables);
    await writeSafetensors(join(folder, file), sources);
    const { size: bytes } = await stat(join(folder, file));
    const tensors = { file, bytes, sha256: digest() };
    const state: CheckpointState = { format: CHECKPOINT_FORMAT, version: CHECKPOINT_VERSION, tensors, run };
    await writeFileAtomically(path, `${JSON.stringify(state, null, 2)}\n`);
  } catch (error) {
    const why =
      error instanceof Error && error.name === "SafetensorsError" ? error.message : `${path}: ${reason(error)}`;
    const remedy = "make room and resume from the checkpoint before it";
    throw new RunError(`the checkpoint of step ${run.step} cannot be saved: ${why}; ${remedy}`, { cause: error });
  }
  await removeOldCheckpoints(folder, { newest: run.step, keep });
  return path;
}

/**
 * Removes all but so many checkpoints up to the newest, tensors without a state, and what killed writers left. A later
 * one was not whole, or this run would not be where it is.
 */
export async function removeOldCheckpoints(
  folder: string,
  { newest, keep }: { newest: number; keep: number },
): Promise<void> {
  const names = await readdir(folder);
  const steps = stepsIn(names).filter((step) => step <= newest);
  const kept = new Set(steps.slice(0, keep));
  // States first: a state without its tensors would be a broken checkpoint.
  for (const kind of [".json", ".safetensors", ".tmp"]) {
    for (const name of names.filter((each) => each.endsWith(kind))) {
      const step = stepOf(kind === ".tmp" ? name.replace(/^\.(.*)\.[0-9a-f]+\.tmp$/, "$1") : name);
      const goes = step !== undefined && (kind === ".tmp" || !kept.has(step));
      if (goes) await rm(join(folder, name), { force: true });
    }
  }
}

/** Steps of the states among these names, newest first. */
export function stepsIn(names: readonly string[]): number[] {
  const steps = names.filter((name) => name.endsWith(".json")).map(stepOf);
  return steps.filter((step) => step !== undefined).sort((a, b) => b - a);
}

/** Removes every checkpoint in the folder, and nothing else. */
export async function dropCheckpoints(folder: string): Promise<void> {
  const present = await stat(folder).catch(() => undefined);
  if (present) await removeOldCheckpoints(folder, { newest: 0, keep: 0 });
}
