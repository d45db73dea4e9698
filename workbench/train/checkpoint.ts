// Saves, finds and removes checkpoints, and determines where a run starts. If the process is killed at any time, a
// complete checkpoint remains: tensors are written first, then the state that refers to them, and older checkpoints are
// removed last. A checkpoint is complete if its state is valid and its tensors have the size and SHA-256 in the state.
// A run resumes from the newest complete checkpoint. Newer incomplete checkpoints are skipped, and the reason is
// reported.

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
 * Saves a checkpoint, then removes old ones.
 * @param folder created if it does not exist
 * @returns the path of the state
 * @throws RunError when it cannot be written; earlier checkpoints are then unchanged
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
    const remedy = "free disk space and resume from the previous checkpoint";
    throw new RunError(`the checkpoint of step ${run.step} cannot be saved: ${why}; ${remedy}`, { cause: error });
  }
  await removeOldCheckpoints(folder, { newest: run.step, keep });
  return path;
}

/**
 * Removes all checkpoints except the last `keep` up to step `newest`. Later checkpoints are removed because they are
 * incomplete; otherwise the run would have resumed from them. Tensors without a state and temporary files of killed
 * processes are removed too.
 */
export async function removeOldCheckpoints(
  folder: string,
  { newest, keep }: { newest: number; keep: number },
): Promise<void> {
  const names = await readdir(folder);
  const steps = stepsIn(names).filter((step) => step <= newest);
  const kept = new Set(steps.slice(0, keep));
  // States are removed first, because a state without its tensors would be a broken checkpoint.
  for (const kind of [".json", ".safetensors", ".tmp"]) {
    for (const name of names.filter((each) => each.endsWith(kind))) {
      const step = stepOf(kind === ".tmp" ? name.replace(/^\.(.*)\.[0-9a-f]+\.tmp$/, "$1") : name);
      const goes = step !== undefined && (kind === ".tmp" || !kept.has(step));
      if (goes) await rm(join(folder, name), { force: true });
    }
  }
}

/** Steps of the state files among these names, newest first. */
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
  /** path of the state */
  path: string;
  run: RunState;
  /** assigns the tensors to variables. @throws RunError when they do not fit; no variable is changed then */
  restore(variables: ReadonlyMap<string, Variable>): Promise<void>;
}

/** The checkpoint from which a run starts, and those that were skipped. */
export interface Found {
  checkpoint: FoundCheckpoint | undefined;
  /** newer checkpoints that are incomplete, one line each */
  passedOver: string[];
}

/**
 * Finds the newest complete checkpoint.
 * @throws RunError for a checkpoint of an unknown version, or one that cannot be read although it is there
 */
export async function findCheckpoint(folder: string): Promise<Found> {
  const names = await readdir(folder).catch(() => []);
  const passedOver: string[] = [];
  for (const step of stepsIn(names)) {
    const path = join(folder, nameOf(step, "json"));
    try {
      return { checkpoint: await openCheckpoint(folder, path), passedOver };
    } catch (error) {
      // A checkpoint of another version may be complete, so an older one must not silently replace it.
      if (error instanceof RunError) throw error;
      // The next attempt may be able to read it, but a run that starts elsewhere would remove it.
      if (isUnreadable(error)) throw new RunError(`${path}: cannot be read now: ${reason(error)}; try again`);
      passedOver.push(`${path}: ${reason(error).replaceAll("\n", " ")}`);
    }
  }
  return { checkpoint: undefined, passedOver };
}

/** Whether a file is there but the system could not read it, e.g. because too many files are open. */
function isUnreadable(error: unknown): boolean {
  const { code, cause } = Object(error) as { code?: unknown; cause?: unknown };
  if (typeof code === "string") return code !== "ENOENT";
  return cause !== undefined && isUnreadable(cause);
}

async function openCheckpoint(folder: string, path: string): Promise<FoundCheckpoint> {
  const json = jsonIn(await readFile(path, "utf8"));
  const problem = checkpointVersionProblem(json);
  if (problem !== undefined) throw new RunError(`${path}: ${problem}`);
  const parsed = CHECKPOINT_STATE.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(`is not a checkpoint: ${[issue?.path.join("."), issue?.message].filter(Boolean).join(" ")}`);
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
  if (size !== bytes) throw new Error(`its tensors have ${size} bytes, expected ${bytes}`);
  const file = await openSafetensors(path);
  try {
    if ((await digestOf(file)) !== sha256) throw new Error("its tensors differ from those that were saved");
  } finally {
    await file.close();
  }
}

export const CHECKPOINT_FOLDER = "checkpoint";

/**
 * The checkpoint that a run starts from, if any.
 * @throws RunError when the checkpoint has other settings, when a checkpoint is required but missing, or when all
 * checkpoints are incomplete
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
    throw new RunError(
      `no checkpoint in ${checkpoints} is complete (${passedOver[0]}); remove them to start a new run`,
    );
  }
  if (!checkpoint && resume === "require") {
    throw new RunError(`there is no checkpoint in ${checkpoints}; do not require one to start a new run`);
  }
  const difference = checkpoint && firstDifference(checkpoint.run.settings, settings);
  if (difference) {
    throw new RunError(
      `${checkpoint.path}: was saved with other settings: ${difference}; use those, or start a new run`,
    );
  }
  return found;
}
