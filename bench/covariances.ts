// The covariances of the inputs of layers of a language model, which benchmarks of searches by outputs need.

import process from "node:process";
import { type Tensor2D, tensor2d } from "@tensorflow/tfjs-core";
import { workbenchCache } from "../hub/cache/paths.ts";
import { languageHidden } from "../workbench/architectures/parts/language-model.ts";
import { type Covariances, calibrate } from "../workbench/compress/index.ts";
import type { Model } from "../workbench/models/index.ts";
import { openTexts } from "../workbench/pipeline/domains/texts.ts";

/** On what a model is calibrated. */
interface CalibrationText {
  /** folder of the model, with its tokenizer */
  model: string;
  /** folder of a text data set with a train split */
  data: string;
  /** windows from the start of that split, and tokens of each */
  windows: number;
  context: number;
}

/** Computes the covariances on the first windows of the train split. */
export async function covariancesOf(
  model: Model,
  layers: readonly string[],
  { model: tokenizer, data: dataset, windows: count, context }: CalibrationText,
): Promise<Covariances> {
  const places = { dataset, tokenizer, config: undefined, column: undefined };
  const cache = workbenchCache(process.env);
  const texts = await openTexts({ ...places, cache, context, signal: AbortSignal.timeout(3_600_000) });
  const step = texts.windows("train");
  let found = await step.next();
  while (!found.done) found = await step.next();
  const windows = found.value;
  async function* inputs() {
    for (let i = 0; i < count; i++) {
      const ids = [...(await windows.read(i))];
      yield tensor2d(ids.slice(0, context), [1, context], "int32");
    }
  }
  const forward = (ids: Tensor2D) => languageHidden(model, ids);
  try {
    for await (const event of calibrate(model, inputs(), { layers, forward })) {
      if (event.kind === "calibrated") return event.covariances;
    }
    throw new Error("the calibration ended without covariances");
  } finally {
    await texts.close();
  }
}
