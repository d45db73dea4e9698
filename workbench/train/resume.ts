// Where a run begins: at step 0, or at the newest whole checkpoint of its folder if that was made with its settings.

import { join } from "node:path";
import { type Found, findCheckpoint } from "./checkpoint/find.ts";
import { dropCheckpoints } from "./checkpoint/save.ts";
import { RunError } from "./errors.ts";
import type { FitOptions } from "./options.ts";
import { firstDifference } from "./run-settings.ts";
import type { Settings } from "./task.ts";

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
