// An experiment over several processes. The first one does all that one process does. The others open the same data, wait
// until it converts, scores or trains a model, and do it with it. They load models from the run folder, which all see.

import { join } from "node:path";
import { type ProcessGroup, StoppedError } from "../../distributed/process-group.ts";
import { RUN_FILES } from "../../report/index.ts";
import type { CalibrationCache } from "../calibration/cache.ts";
import { convertVariant } from "../convert-variant.ts";
import { type FineTuneOptions, fineTuned } from "../fine-tune.ts";
import { load } from "../load.ts";
import { type PipelineEvent, StageError } from "../stage.ts";
import { settingsOf, type Variant } from "../variants.ts";
import { ORDER } from "./orders.ts";

interface FollowOptions extends Omit<FineTuneOptions, "variant" | "folder" | "board"> {
  ranks: ProcessGroup;
  cache: CalibrationCache;
  /** each with its run folder */
  variants: readonly { variant: Variant; folder: string }[];
}

/**
 * Works with the first process until that one ends.
 * @throws EngineError if the first process has failed; StageError if it works on what this one was not asked for
 */
export async function* follow(options: FollowOptions): AsyncGenerator<PipelineEvent> {
  const { ranks, context } = options;
  for (;;) {
    const order = ORDER.parse(JSON.parse(await ranks.told(context.signal)));
    // The first process waits for this before it ends.
    if ("ends" in order) return await ranks.barrier();
    try {
      if ("convert" in order) yield* converted(order.convert, options);
      else if ("score" in order) yield* scored(order.score, options);
      else yield* trained(order.train, options);
    } catch (error) {
      // The first process tells what is next: that it ends.
      if (!(error instanceof StoppedError)) throw error;
    }
  }
}

async function* converted(key: string, options: FollowOptions): AsyncGenerator<PipelineEvent> {
  const { variants, base, settings } = options;
  const { variant, folder } = known(variants, key);
  const model = yield* base.copy();
  try {
    yield* convertVariant(model, { ...options, variant, folder, settings: settingsOf(variant, settings) });
  } finally {
    model.dispose();
  }
}

async function* trained(key: string, { variants, ...shared }: FollowOptions): AsyncGenerator<PipelineEvent> {
  const { variant, folder } = known(variants, key);
  const model = variant.converts
    ? yield* load(join(folder, RUN_FILES.converted), { form: "trainable" })
    : yield* shared.base.copy();
  try {
    yield* fineTuned(model, { ...shared, settings: settingsOf(variant, shared.settings), variant, folder });
  } finally {
    model.dispose();
  }
}

async function* scored(
  folder: string | null,
  { base, data, ranks, context: { signal } }: FollowOptions,
): AsyncGenerator<PipelineEvent> {
  if (folder === null) {
    yield* data.score(yield* base.model(), { signal, ranks });
    return;
  }
  const model = yield* load(folder);
  try {
    yield* data.score(model, { signal, ranks });
  } finally {
    model.dispose();
  }
}

function known<Each extends { variant: Variant }>(variants: readonly Each[], key: string): Each {
  const found = variants.find(({ variant }) => variant.key === key);
  if (found) return found;
  throw new StageError(`rank 0 works on ${key}, which this rank was not asked for; start all with one command`);
}
