// What the processes of a training run agree on, apart from gradients: where it begins, and when it is saved and ends.

import { mkdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { tensor1d } from "@tensorflow/tfjs-core";
import { z } from "zod";
import { type StagedFile, stageFile } from "../../hub/files/atomic-file.ts";
import { reason } from "../../hub/files/byte-source.ts";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { gathered } from "../distributed/shares.ts";
import { nameOf, RUN_STATE, TENSORS } from "./checkpoint-format.ts";
import { RunError } from "./events.ts";
import type { Settings } from "./options.ts";
import { firstDifference } from "./run-settings.ts";

const CHECKPOINT = z.object({ run: RUN_STATE, tensors: z.array(TENSORS) });
const START = z.object({ settings: RUN_STATE.shape.settings, from: CHECKPOINT.optional() });
type Checkpoint = z.infer<typeof CHECKPOINT>;

/** What errors say of the time before the first step. */
export const BEGINNING = "the start of training";

/**
 * The checkpoint from which all processes begin: that of rank 0.
 * @param own of this process; only that of rank 0 counts
 * @throws RunError if the settings differ from those of rank 0; EngineError if rank 0 has failed
 */
export async function startOf(
  ranks: ProcessGroup,
  settings: Settings,
  own: Checkpoint | undefined,
): Promise<Checkpoint | undefined> {
  ranks.during = BEGINNING;
  if (ranks.rank === 0) {
    await ranks.tell(JSON.stringify({ settings, from: own }));
    return own;
  }
  const start = START.parse(JSON.parse(await ranks.told()));
  const difference = firstDifference(start.settings, settings);
  if (difference) {
    throw new RunError(
      `rank ${ranks.rank} has other settings than rank 0: ${difference}; start all with the same command`,
    );
  }
  return start.from;
}

/**
 * Checks, before any step, that all processes see one folder and can write to it. It is created.
 * @throws RunError that names the folder and the rank; EngineError where another process has failed
 */
export async function expectShared(ranks: ProcessGroup, folder: string): Promise<void> {
  const { rank } = ranks;
  let own: StagedFile | undefined;
  const stage = async (): Promise<string> => {
    try {
      if (rank === 0) await mkdir(folder, { recursive: true });
      // If the run is killed here, the removal of old checkpoints takes this file for a part of one.
      own = await stageFile(join(folder, nameOf(0, "safetensors")));
      return basename(own.temporary);
    } catch (error) {
      const problem = `rank ${rank} cannot write to ${folder}: ${reason(error)}`;
      throw new RunError(`${problem}; give a run folder to which all ranks can write`, { cause: error });
    }
  };
  // A rank with other settings ends before this, and nothing is created.
  await ranks.barrier();
  try {
    const [mark] = (await gathered(BEGINNING, async () => (rank === 0 ? stage() : ""), { ranks })) as [string];
    const seen = async () => {
      if (rank === 0) return "";
      const isSeen = await stat(join(folder, mark)).catch(() => undefined);
      if (isSeen) return stage();
      const problem = `rank ${rank} does not see the folder ${folder} of rank 0, to which all ranks write checkpoints`;
      throw new RunError(`${problem}; give a run folder on a file system that all ranks share`);
    };
    await gathered(BEGINNING, seen, { ranks });
  } finally {
    await own?.discard();
  }
}

/** Which of these any process asks for. All processes get the same answers. */
export async function anyAsks<Asked extends Readonly<Record<string, boolean>>>(
  ranks: ProcessGroup | undefined,
  asked: Asked,
): Promise<Asked> {
  if (!ranks) return asked;
  const flags = tensor1d(Object.values(asked).map((flag) => (flag ? 1 : 0)));
  try {
    await ranks.allReduce([flags], "max");
    const answers = await flags.data();
    return Object.fromEntries(Object.keys(asked).map((name, i) => [name, answers[i] === 1])) as Asked;
  } finally {
    flags.dispose();
  }
}
