// The check of a model of several sizes: it is cut to each of them and measured.

import { cutModel, type SizesRecord } from "../../compress/index.ts";
import { copyModel } from "../../models/create.ts";
import type { Model } from "../../models/index.ts";
import type { Scored } from "../domains/domain.ts";
import type { PipelineEvent } from "../stage.ts";
import type { OpenCheck } from "./open-check.ts";

/** The score of a model that is cut to a size. */
export interface SizeScore extends Scored {
  /** share of the linear parameters that is kept */
  keep: number;
}

/**
 * Measures a model at each of its sizes.
 * @param model is not changed
 */
export async function* scoresBySize(
  model: Model,
  record: SizesRecord,
  { check, signal }: { check: OpenCheck; signal: AbortSignal },
): AsyncGenerator<PipelineEvent, SizeScore[]> {
  const found: SizeScore[] = [];
  for (const keep of record.sizes) {
    const cut = copyModel(model);
    try {
      await cutModel(cut, keep, { record });
      yield { kind: "stage", stage: "check", of: `the model cut to ${keep}`, done: false };
      found.push({ keep, ...(yield* check.score(cut, signal)) });
    } finally {
      cut.dispose();
    }
  }
  return found;
}
