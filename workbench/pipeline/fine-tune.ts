// Trains a variant of an experiment, with a teacher if the settings ask for distillation. With several processes, the first
// one tells the others which variant comes next, and all of them are here at the same time.

import { forInference, type Model } from "../models/index.ts";
import type { Ended } from "../train/index.ts";
import type { Teacher } from "./domains/domain.ts";
import type { Source } from "./fetch.ts";
import { type BaseModel, load } from "./load.ts";
import { announce } from "./ranks/orders.ts";
import type { ExperimentContext, PipelineEvent } from "./stage.ts";
import { type TrainStageOptions, train } from "./train.ts";
import type { Variant } from "./variants.ts";

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
  await announce(ranks, { train: variant.key });
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
