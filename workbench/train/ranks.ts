// What the processes of a training run agree on, apart from gradients: where it begins, and when it ends.

import { tensor1d } from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { RUN_STATE, type RunState } from "./checkpoint-format.ts";
import { RunError } from "./events.ts";
import type { FitOptions, Settings } from "./options.ts";
import { firstDifference } from "./run-settings.ts";

const START = z.object({ settings: RUN_STATE.shape.settings, from: RUN_STATE.optional() });

/**
 * The state from which all processes begin: that of rank 0.
 * @param own of this process; only that of rank 0 counts
 * @throws RunError if the settings differ from those of rank 0; EngineError if rank 0 has failed
 */
export async function startOf(
  ranks: ProcessGroup,
  settings: Settings,
  own: RunState | undefined,
): Promise<RunState | undefined> {
  ranks.during = "the start of training";
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

/** Whether the signal of this process, or of any other, asks to stop. All get the same answer. */
export async function anyStops({ signal, ranks }: FitOptions): Promise<boolean> {
  const asked = signal?.aborted === true;
  if (!ranks) return asked;
  const flag = tensor1d([asked ? 1 : 0]);
  try {
    await ranks.allReduce([flag], "max");
    return (await flag.data())[0] === 1;
  } finally {
    flag.dispose();
  }
}
