// An experiment over several processes. The first one does all that one process does. The others open the same data, wait
// until it trains a variant, and train with it: they load the converted model from the run folder, which all of them see.

import { join } from "node:path";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { RUN_FILES } from "../report/index.ts";
import { type FineTuneOptions, fineTuned, ORDER } from "./fine-tune.ts";
import { load } from "./load.ts";
import { type PipelineEvent, StageError } from "./stage.ts";
import { settingsOf, type Variant } from "./variants.ts";

interface FollowOptions extends Omit<FineTuneOptions, "variant" | "folder" | "board"> {
  ranks: ProcessGroup;
  /** each with its run folder */
  variants: readonly { variant: Variant; folder: string }[];
}

/**
 * Trains with the first process until that one ends.
 * @throws EngineError if the first process has failed; StageError if it trains what this one was not asked for
 */
export async function* follow({ ranks, variants, ...shared }: FollowOptions): AsyncGenerator<PipelineEvent> {
  const { base, context, settings } = shared;
  for (;;) {
    const order = ORDER.parse(JSON.parse(await ranks.told(context.signal)));
    // The first process waits for this before it ends.
    if ("ends" in order) return await ranks.barrier();
    const { variant, folder } = known(variants, order.variant);
    const model = variant.converts
      ? yield* load(join(folder, RUN_FILES.converted), { form: "trainable" })
      : yield* base.copy();
    try {
      yield* fineTuned(model, { ...shared, settings: settingsOf(variant, settings), variant, folder });
    } finally {
      model.dispose();
    }
  }
}

function known<Each extends { variant: Variant }>(variants: readonly Each[], key: string): Each {
  const found = variants.find(({ variant }) => variant.key === key);
  if (found) return found;
  throw new StageError(`rank 0 trains ${key}, which this rank was not asked for; start all with one command`);
}
