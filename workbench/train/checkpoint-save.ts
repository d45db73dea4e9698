// Saves checkpoints, of one process or of several together, and removes old ones. If a process is killed at any time, a
// complete checkpoint remains: tensors are written first, then, when all processes have reported theirs, the state that
// refers to them, and older checkpoints are removed last.

import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Variable } from "@tensorflow/tfjs-core";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { reason } from "../../hub/files/byte-source.ts";
import { SafetensorsError, writeSafetensors } from "../../hub/safetensors/index.ts";
import { isFirst, type ProcessGroup } from "../distributed/process-group.ts";
import { gathered } from "../distributed/shares.ts";
import {
  type CheckpointVariables,
  hashedSources,
  nameOf,
  type RunState,
  shardNameOf,
  stateOf,
  stepOf,
  type TensorsFile,
} from "./checkpoint-format.ts";
import { RunError } from "./events.ts";

/** What is saved, and by whom. */
interface SaveOptions {
  /** that of the first process counts */
  run: RunState;
  variables: CheckpointVariables;
  /** number of checkpoints that are kept */
  keep: number;
  /** the processes that save together */
  ranks?: ProcessGroup | undefined;
}

/**
 * Saves a checkpoint, then removes old ones. Several processes write their tensors at the same time.
 * @param folder created if it does not exist; the same one for all processes
 * @returns the path of the state
 * @throws RunError when it cannot be written; earlier checkpoints are then unchanged. EngineError where another process
 *   could not write its part
 */
export async function saveCheckpoint(folder: string, { run, variables, keep, ranks }: SaveOptions): Promise<string> {
  const { step } = run;
  const path = join(folder, nameOf(step, "json"));
  const during = `the checkpoint of step ${step}`;
  const saving = async <Result>(write: () => Promise<Result>) => write().catch((error) => fail(error, { step, path }));
  const own = async () => {
    await mkdir(folder, { recursive: true });
    return writeTensors(folder, partsOf(variables, { step, ranks }), ranks);
  };
  const parts = await gathered(during, () => saving(own), { ranks });
  // The second meeting tells all whether the checkpoint is there.
  const state = async () => {
    if (!isFirst(ranks)) return null;
    const tensors = parts.flat();
    await saving(() => writeFileAtomically(path, `${JSON.stringify(stateOf(run, tensors), null, 2)}\n`));
    await removeOldCheckpoints(folder, { newest: step, keep, files: tensors.map(({ file }) => file) });
    return null;
  };
  await gathered(during, state, { ranks });
  return path;
}

type Part = [file: string, variables: ReadonlyMap<string, Variable>];

/** The files of tensors that this process writes. */
function partsOf(
  { common, own }: CheckpointVariables,
  { step, ranks }: { step: number; ranks: ProcessGroup | undefined },
): Part[] {
  const first = nameOf(step, "safetensors");
  if (!ranks || ranks.size === 1) return [[first, new Map([...common, ...own])]];
  const shard: Part = [shardNameOf(step, ranks), own];
  return isFirst(ranks) ? [[first, common], shard] : [shard];
}

async function writeTensors(
  folder: string,
  parts: readonly Part[],
  ranks: ProcessGroup | undefined,
): Promise<TensorsFile[]> {
  const written: TensorsFile[] = [];
  for (const [file, variables] of parts) {
    const { sources, digest } = hashedSources(variables);
    await writeSafetensors(join(folder, file), sources);
    const { size: bytes } = await stat(join(folder, file));
    written.push({ file, bytes, sha256: digest(), ...(ranks && ranks.size > 1 && { rank: ranks.rank }) });
  }
  return written;
}

function fail(error: unknown, { step, path }: { step: number; path: string }): never {
  const why = error instanceof SafetensorsError ? error.message : `${path}: ${reason(error)}`;
  const remedy = "free disk space and resume from the previous checkpoint";
  throw new RunError(`the checkpoint of step ${step} cannot be saved: ${why}; ${remedy}`, { cause: error });
}

/**
 * Removes all checkpoints except the last `keep` up to step `newest`. Later checkpoints are removed because they are
 * incomplete; otherwise the run would have resumed from them. Tensors without a state and temporary files of killed
 * processes are removed too.
 * @param files of the newest checkpoint, whose other tensors are removed: those of killed processes of another number
 */
export async function removeOldCheckpoints(
  folder: string,
  { newest, keep, files }: { newest: number; keep: number; files?: readonly string[] },
): Promise<void> {
  const names = await readdir(folder);
  const steps = stepsIn(names).filter((step) => step <= newest);
  const kept = new Set(steps.slice(0, keep));
  // States are removed first, because a state without its tensors would be a broken checkpoint.
  for (const kind of [".json", ".safetensors", ".tmp"]) {
    for (const name of names.filter((each) => each.endsWith(kind))) {
      const step = stepOf(kind === ".tmp" ? name.replace(/^\.(.*)\.[0-9a-f]+\.tmp$/, "$1") : name);
      const isStray = kind === ".safetensors" && step === newest && files?.includes(name) === false;
      const goes = step !== undefined && (kind === ".tmp" || isStray || !kept.has(step));
      if (goes) await rm(join(folder, name), { force: true });
    }
  }
}

/** Steps of the state files among these names, newest first. */
export function stepsIn(names: readonly string[]): number[] {
  const steps = names.filter((name) => name.endsWith(".json")).map(stepOf);
  return steps.filter((step) => step !== undefined).sort((a, b) => b - a);
}
