// Saves, finds and removes checkpoints, and decides where a run begins. If the process is killed at any moment, a complete
// checkpoint remains: tensors are written first, then the state that names them, and older checkpoints are removed last. A
// run resumes from the newest complete checkpoint, whose state is valid and whose tensors have the size and the SHA-256
// that the state names. Newer checkpoints that are not complete are skipped, and the reason is reported.

import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Variable } from "@tensorflow/tfjs-core";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { reason } from "../../hub/files/byte-source.ts";
import { openSafetensors, writeSafetensors } from "../../hub/safetensors/index.ts";
import { jsonOrUndefined } from "../../hub/text/json.ts";
import {
  assignAll,
  CHECKPOINT_FORMAT,
  CHECKPOINT_STATE,
  CHECKPOINT_VERSION,
  type CheckpointState,
  checkpointVersionProblem,
  digestOf,
  hashedSources,
  nameOf,
  type RunState,
  stepOf,
} from "./checkpoint-format.ts";
import { RunError } from "./events.ts";
import type { FitOptions, Settings } from "./options.ts";
import { firstDifference } from "./run-settings.ts";

/**
 * @param folder created if it does not exist
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
function stepsIn(names: readonly string[]): number[] {
  const steps = names.filter((name) => name.endsWith(".json")).map(stepOf);
  return steps.filter((step) => step !== undefined).sort((a, b) => b - a);
}

/** Removes every checkpoint in the folder, and nothing else. */
async function dropCheckpoints(folder: string): Promise<void> {
  const present = await stat(folder).catch(() => undefined);
  if (present) await removeOldCheckpoints(folder, { newest: 0, keep: 0 });
}

interface FoundCheckpoint {
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

export const CHECKPOINT_FOLDER = "checkpoint";

/**
 * @throws RunError when the checkpoint was made with other settings, when one is required and there is none, or when
 * there are some and none is whole
 */
export async function findStart({ folder, resume = "auto" }: FitOptions, settings: Settings): Promise<Found> {
  const checkpoints = join(folder, CHECKPOINT_FOLDER);
  if (resume === "never") {
    await dropCheckpoints(checkpoints);
    return { checkpoint: undefined, passedOver: [] };
  }
  const found = await findCheckpoint(checkpoints);
  const { checkpoint, passedOver } = found;
  if (!checkpoint && passedOver.length > 0) {
    throw new RunError(`no checkpoint in ${checkpoints} is whole (${passedOver[0]}); remove them to start anew`);
  }
  if (!checkpoint && resume === "require") {
    throw new RunError(`there is no checkpoint in ${checkpoints}; leave out resuming to start anew`);
  }
  const difference = checkpoint && firstDifference(checkpoint.run.settings, settings);
  if (difference) {
    throw new RunError(`${checkpoint.path}: made with other settings: ${difference}; give those, or start anew`);
  }
  return found;
}
