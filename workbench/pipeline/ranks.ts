// An experiment over several processes. The first one does all that one process does. The others open the same data, wait
// until it trains a variant, and train with it: they load the converted model from the run folder, which all of them see.

import { join } from "node:path";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { RUN_FILES } from "../report/index.ts";
import type { Domain } from "./domains/domain.ts";
import type { Source } from "./fetch.ts";
import { fineTuned, ORDER } from "./fine-tune.ts";
import { BaseModel, load } from "./load.ts";
import type { ExperimentSettings } from "./settings.ts";
import { type ExperimentContext, type PipelineEvent, StageError } from "./stage.ts";
import { settingsOf, type Variant } from "./variants.ts";

interface FollowOptions<Settings extends ExperimentSettings> {
  settings: Settings;
  context: ExperimentContext;
  ranks: ProcessGroup;
  /** each with its run folder */
  variants: readonly { variant: Variant; folder: string }[];
  sources: { model: Source; data: Parameters<Domain<Settings>["open"]>[1]["data"] };
  teacher: Source | undefined;
}

/**
 * Trains with the first process until that one ends.
 * @throws StageError if the first process has failed
 */
export async function* follow<Settings extends ExperimentSettings>(
  domain: Domain<Settings>,
  { settings, context, ranks, variants, sources, teacher }: FollowOptions<Settings>,
): AsyncGenerator<PipelineEvent> {
  const data = yield* domain.open(settings, sources, context);
  const form = variants.every(({ variant }) => variant.converts) ? "auto" : "trainable";
  const base = new BaseModel(sources.model, { form });
  try {
    for (;;) {
      const order = ORDER.parse(JSON.parse(await ranks.told(context.signal)));
      if ("ends" in order) {
        // The first process waits for this before it ends.
        await ranks.barrier();
        if (order.error !== undefined) throw new StageError(`rank 0 has failed: ${order.error}`);
        return;
      }
      const { variant, folder } = known(variants, order.variant);
      const model = variant.converts
        ? yield* load(join(folder, RUN_FILES.converted), { form: "trainable" })
        : yield* base.copy();
      try {
        const own = settingsOf(variant, settings);
        yield* fineTuned(model, { settings: own, context, base, teacher, data, variant, folder });
      } finally {
        model.dispose();
      }
    }
  } finally {
    base.dispose();
    await data.close();
  }
}

function known<Each extends { variant: Variant }>(variants: readonly Each[], key: string): Each {
  const found = variants.find(({ variant }) => variant.key === key);
  if (!found)
    throw new StageError(`rank 0 trains ${key}, which this rank was not asked for; start all with one command`);
  return found;
}
