// Finds and restores checkpoints, and determines where a run starts. A checkpoint is complete if its state is valid and its
// files of tensors have the sizes and SHA-256 in the state. A run resumes from the newest complete checkpoint. Newer
// incomplete checkpoints are skipped, and the reason is reported.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Variable } from "@tensorflow/tfjs-core";
import { reason } from "../../hub/files/byte-source.ts";
import { openSafetensors, type TensorFile } from "../../hub/safetensors/index.ts";
import { jsonOrUndefined } from "../../hub/text/json.ts";
import {
  assignAll,
  CHECKPOINT_STATE,
  checkpointVersionProblem,
  digestOf,
  nameOf,
  type RunState,
  type TensorsFile,
} from "./checkpoint-format.ts";
import { removeOldCheckpoints, stepsIn } from "./checkpoint-save.ts";
import { RunError } from "./events.ts";
import type { FitOptions, Settings } from "./options.ts";
import { firstDifference } from "./run-settings.ts";

/** Removes every checkpoint in the folder, and nothing else. */
async function dropCheckpoints(folder: string): Promise<void> {
  const present = await stat(folder).catch(() => undefined);
  if (present) await removeOldCheckpoints(folder, { newest: 0, keep: 0 });
}

/** A complete checkpoint. */
export interface FoundCheckpoint {
  /** path of the state */
  path: string;
  run: RunState;
  /** its files of tensors, in the folder of the state */
  tensors: TensorsFile[];
}

/**
 * Assigns tensors of a checkpoint to variables, which may be some of its own.
 * @param tensors its files, which are in `folder`
 * @throws RunError when they do not fit; no variable is changed then
 */
export async function restore(
  folder: string,
  tensors: readonly TensorsFile[],
  variables: ReadonlyMap<string, Variable>,
): Promise<void> {
  const paths = tensors.map(({ file }) => join(folder, file));
  const files: TensorFile[] = [];
  try {
    for (const path of paths) files.push(await openSafetensors(path));
    await assignAll(files, variables, paths[0] as string);
  } finally {
    for (const file of files) await file.close();
  }
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
  const tensors = [parsed.data.tensors].flat();
  for (const each of tensors) await verify(folder, each);
  return { path, run: parsed.data.run, tensors };
}

function jsonIn(text: string): unknown {
  const json = jsonOrUndefined(text);
  if (json === undefined) throw new Error("is not JSON");
  return json;
}

async function verify(folder: string, { file, bytes, sha256, rank }: TensorsFile): Promise<void> {
  const path = join(folder, file);
  const named = rank === undefined ? "its tensors" : `its tensors of rank ${rank} in ${file}`;
  const { size } = await stat(path).catch((error) => {
    throw rank !== undefined && error.code === "ENOENT" ? new Error(`${named} are missing`) : error;
  });
  if (size !== bytes) throw new Error(`${named} have ${size} bytes, expected ${bytes}`);
  const open = await openSafetensors(path);
  try {
    if ((await digestOf(open)) !== sha256) throw new Error(`${named} differ from those that were saved`);
  } finally {
    await open.close();
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
