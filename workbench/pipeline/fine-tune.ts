// Trains a variant of an experiment, with a teacher if the settings ask for distillation. With several processes, the first
// one tells the others which variant comes next, and all of them are here at the same time.

import { z } from "zod";
import type { ProcessGroup } from "../distributed/process-group.ts";
import { forInference, type Model } from "../models/index.ts";
import type { Ended } from "../train/index.ts";
import type { Teacher } from "./domains/domain.ts";
import type { Source } from "./fetch.ts";
import { type BaseModel, load } from "./load.ts";
import type { ExperimentContext, PipelineEvent } from "./stage.ts";
import { type TrainStageOptions, train } from "./train.ts";
import type { Variant } from "./variants.ts";

/** What the others are to do next: train a variant, or end. */
export const ORDER = z.union([z.object({ variant: z.string() }), z.object({ ends: z.literal(true) })]);

type Order = z.infer<typeof ORDER>;

/**
 * Tells the other processes that the first one ends, and waits until they know, as it serves their meeting point.
 * @param failure why it ends, if it has failed; the others may be anywhere then, and are not waited for
 */
export async function dismiss(ranks: ProcessGroup, failure: string | undefined): Promise<void> {
  if (failure !== undefined) return ranks.tellFailure(failure);
  await announce(ranks, { ends: true });
  await ranks.barrier();
}

const announce = (ranks: ProcessGroup, order: Order): Promise<void> => ranks.tell(JSON.stringify(order));

/** Options of `fineTuned`. */
export interface FineTuneOptions extends Pick<TrainStageOptions, "folder" | "settings" | "data" | "board"> {
  variant: Variant;
  context: ExperimentContext;
  base: BaseModel;
  /** origin of the teacher of a distillation. Default: the base model, as it is in memory */
  teacher: Source | undefined;
}

/** Trains the model, with a teacher if the settings ask for distillation. */
export async function* fineTuned(model: Model, options: FineTuneOptions): AsyncGenerator<PipelineEvent, Ended> {
  const { folder, settings, variant, data, context, board } = options;
  const { signal, ranks } = context;
  if (ranks?.rank === 0) await announce(ranks, { variant: variant.key });
  yield { kind: "stage", stage: "fine-tune", of: variant.title };
  const opened = settings.distill > 0 ? yield* openTeacher(options) : undefined;
  try {
    const { teacher } = opened ?? {};
    return yield* train(model, { folder, settings, data, variant: variant.key, teacher, board, signal, ranks });
  } finally {
    opened?.dispose();
  }
}

interface OpenTeacher {
  teacher: Teacher;
  dispose(): void;
}

/** The teacher in its form for inference: the base model, or one that is loaded in the number type of the settings. */
async function* openTeacher({
  settings,
  base,
  teacher: source,
}: FineTuneOptions): AsyncGenerator<PipelineEvent, OpenTeacher> {
  const { distill: weight, temperature, teacherDtype: dtype = "float32" } = settings;
  const loaded = source && (yield* load(source.folder, { dtype }));
  const model = await forInference(loaded ?? (yield* base.model()));
  return {
    teacher: {
      model,
      weight,
      temperature,
      ...(source && { settings: { teacher: source.name, "teacher type": dtype } }),
    },
    dispose() {
      model.dispose();
      loaded?.dispose();
    },
  };
}
