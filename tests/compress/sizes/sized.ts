// A tiny GPT-2 that is converted for several sizes, in memory and as a folder.

import * as tf from "@tensorflow/tfjs-core";
import { planConversion, type SizesRecord, sizesRecord } from "../../../workbench/compress/index.ts";
import { type Gpt2Config, type Model, saveModelNow } from "../../../workbench/models/index.ts";
import { sample, toTensor } from "../../engine/ops/operands.ts";
import { converted, tinyModel } from "../tiny.ts";

export const SIZES = [0.3, 0.5, 0.7];

/** Structures that can have several sizes, with an initialization. */
export const SIZED = [
  ["gblr", "search"],
  ["lowrank", "activation"],
] as const;

/** A model of several sizes, which the caller disposes of, and its record. */
export async function sizedModel(
  structure: string,
  init: "search" | "activation" | "svd",
): Promise<{ model: Model<Gpt2Config>; record: SizesRecord }> {
  const model = tinyModel();
  const covariances = new Map(
    [...model.layers.values()].map(({ name, nIn }, at) => {
      const inputs = toTensor(sample(70 + at, [4 * nIn, nIn])) as tf.Tensor2D;
      const covariance = tf.tidy(() => tf.div(tf.matMul(inputs, inputs, true), 4 * nIn) as tf.Tensor2D);
      inputs.dispose();
      return [name, covariance];
    }),
  );
  const plan = await planConversion(model, { structure, sizes: SIZES });
  const { layers } = await converted(model, plan, { init, covariances });
  tf.dispose([...covariances.values()]);
  const record = sizesRecord(model, plan, { layers } as Parameters<typeof sizesRecord>[2]);
  if (!record) throw new Error("the plan has one size");
  return { model, record };
}

/** Writes a model of several sizes as a folder. */
export async function saveSized(folder: string, structure: string, init: "search" | "activation"): Promise<void> {
  const { model, record } = await sizedModel(structure, init);
  await saveModelNow(model, folder, { gblr: { sizes: record } });
  model.dispose();
}
