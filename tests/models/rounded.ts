// Models whose files are rounded, and what is computed from them, for the tests of number types in files.

import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import { loadModelNow } from "../../workbench/models/folder/load.ts";
import { type Gpt2Config, type Model, replaceLayer } from "../../workbench/models/index.ts";
import { gblr } from "../../workbench/structures/gblr.ts";
import { IDS } from "./old-folders/inputs.ts";
import { taken } from "./tiny.ts";

/** A GBLR layer of two blocks that are a thousand times as large as their sum. */
export function cancelling(model: Model<Gpt2Config>, name: string): void {
  const { nIn, nOut } = model.layer(name);
  const [u, v] = [tf.randomNormal([1, nOut, 1], 0, 1, "float32", 3), tf.randomNormal([1, 1, nIn], 0, 1, "float32", 4)];
  replaceLayer(model, name, gblr, {
    lr_weight1: tf.concat([v, v]),
    lr_weight2: tf.concat([tf.mul(u, 30), tf.mul(u, -29.97)]),
    widths: tf.ones([2, 2]),
    locations: tf.zeros([2, 2]),
  });
}

/** Logits of a folder, as in evaluation. */
export async function logitsOf(folder: string): Promise<Float32Array> {
  const model = (await loadModelNow(folder)) as Model<Gpt2Config>;
  model.masks.mode = "eval";
  const ids = tf.tensor2d([IDS], undefined, "int32");
  const logits = await taken(tf.tidy(() => languageLogits(model, ids)));
  tf.dispose(ids);
  model.dispose();
  return logits;
}

/** ‖a − b‖ / ‖b‖ */
export const relativeError = (a: ArrayLike<number>, b: Float32Array): number =>
  Math.sqrt(
    b.reduce((sum, value, i) => sum + (value - (a[i] as number)) ** 2, 0) /
      b.reduce((sum, value) => sum + value ** 2, 0),
  );

export const configIn = (folder: string) => JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
