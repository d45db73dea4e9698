// Tiny models for tests: two blocks of GPT-2, wide enough for structures to be more than one block, made from a seed.

import * as tf from "@tensorflow/tfjs-core";
import { seededUniform } from "../../workbench/engine/core/random.ts";
import { createModel, type Gpt2Config, gpt2, type Model, replaceLayer } from "../../workbench/models/index.ts";
import { matrixStructure } from "../structures/matrix-structures.ts";

export const TINY = {
  n_layer: 2,
  n_embd: 16,
  n_head: 2,
  n_positions: 12,
  vocab_size: 40,
  embd_pdrop: 0,
  resid_pdrop: 0,
  attn_pdrop: 0,
} as const;

export function tinyGpt2(settings: Readonly<Record<string, unknown>> = {}, seed = 1): Model<Gpt2Config> {
  return createModel(gpt2, { ...TINY, ...settings }, { seed });
}

/** Every parameter plus noise of size 0.3: at the start all is so small that mistakes hide. The same on any engine. */
export function livelier<Config>(model: Model<Config>, seed = 2): Model<Config> {
  const uniform = seededUniform(seed);
  for (const variable of model.parameters.values()) {
    if (variable.dtype !== "float32" || !variable.trainable) continue;
    const noise = Float32Array.from({ length: variable.size }, () => (uniform() - 0.5) * Math.sqrt(12) * 0.3);
    tf.tidy(() => variable.assign(tf.add(variable, tf.tensor(noise, variable.shape))));
  }
  return model;
}

/** The values of each parameter, by name. */
export async function valuesOf(model: Model): Promise<Map<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (const [name, variable] of model.parameters) found.set(name, (await variable.data()) as Float32Array);
  return found;
}

/** Holds these layers in a structure, at half the multiply-adds; GBLR blocks of many widths, some of them dead. */
export async function structured(
  model: Model<Gpt2Config>,
  names: readonly string[],
  name: string,
): Promise<Model<Gpt2Config>> {
  const structure = matrixStructure(name);
  for (const layer of names) {
    const { nIn, nOut } = model.layer(layer);
    const weight = tf.randomNormal([nOut, nIn], 0, 0.3, "float32", 7) as tf.Tensor2D;
    const parameters = await structure.fromDense(weight, 0.5);
    weight.dispose();
    if (name === "gblr") tf.dispose([parameters.widths, parameters.locations]);
    replaceLayer(model, layer, structure, { ...parameters, ...(name === "gblr" && scattered(Math.min(nIn, nOut))) });
  }
  return model;
}

function scattered(blocks: number): { widths: tf.Tensor; locations: tf.Tensor } {
  const uniform = seededUniform(5);
  const widths = Array.from({ length: 2 * blocks }, (_, i) => (i % blocks < blocks / 2 ? 0.15 + 0.5 * uniform() : 0));
  const locations = widths.map(() => uniform());
  return { widths: tf.tensor2d(widths, [2, blocks]), locations: tf.tensor2d(locations, [2, blocks]) };
}

export const ids = (batch: number, tokens: number, vocabulary = TINY.vocab_size): tf.Tensor2D =>
  tf.tensor2d(
    Int32Array.from({ length: batch * tokens }, (_, i) => (i * 7 + 3) % vocabulary),
    [batch, tokens],
    "int32",
  );

/** The values of a tensor, which is disposed. */
export async function taken(tensor: tf.Tensor): Promise<Float32Array> {
  const values = (await tensor.data()) as Float32Array;
  tensor.dispose();
  return values;
}
