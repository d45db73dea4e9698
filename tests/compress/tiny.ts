// A GPT-2 small enough to decompose in milliseconds, with matrices whose singular values fall, and helpers of the tests
// beside it.

import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import type { ConversionPlan } from "../../workbench/compress/index.ts";
import {
  type ConvertEvent,
  type ConvertedLayer,
  type ConvertOptions,
  convert,
} from "../../workbench/compress/index.ts";
import { createModel, type Gpt2Config, gpt2, type Model } from "../../workbench/models/index.ts";
import { sample, sampleIds, toTensor } from "../engine/ops/operands.ts";

export const TINY = { n_layer: 2, n_embd: 16, n_head: 2, n_positions: 24, vocab_size: 50 };

/** Weights are far larger than training starts with: logits must tell models apart. */
export function tinyModel(seed = 3, settings: Readonly<Record<string, unknown>> = {}): Model<Gpt2Config> {
  const model = createModel(gpt2, { ...TINY, ...settings }, { seed });
  for (const [at, name] of [...model.layers.keys()].entries()) {
    const variable = model.parameter(`${name}.weight`);
    const [rows, columns] = variable.shape as [number, number];
    // Later layers fall faster: a global budget has something to move.
    const decay = at % 2 === 0 ? 0.97 : 0.75;
    tf.tidy(() => variable.assign(falling(100 * seed + at, [rows, columns], decay)));
  }
  return model;
}

/** A random matrix times powers of `decay`, mixed again: singular values that fall about so fast. */
function falling(seed: number, [rows, columns]: [number, number], decay: number): tf.Tensor {
  const inner = Math.min(rows, columns);
  const left = toTensor(sample(seed, [rows, inner])) as tf.Tensor2D;
  const right = toTensor(sample(seed + 50, [inner, columns])) as tf.Tensor2D;
  const scale = tf.tensor1d(Array.from({ length: inner }, (_, i) => 0.3 * decay ** i));
  return tf.matMul(tf.mul(left, scale), right);
}

export async function converted(
  model: Model,
  plan: ConversionPlan,
  options: ConvertOptions = {},
): Promise<{ layers: ConvertedLayer[]; events: ConvertEvent[] }> {
  const events: ConvertEvent[] = [];
  for await (const event of convert(model, plan, options)) events.push(event);
  const last = events.at(-1);
  if (last?.kind !== "converted") throw new Error("the conversion did not end");
  return { layers: last.layers, events };
}

export const tokens = (seed: number, batch = 2): tf.Tensor2D =>
  tf.tensor2d(sampleIds(seed, batch * TINY.n_positions, TINY.vocab_size), [batch, TINY.n_positions], "int32");

/** Logits of `tokens(4)`. */
export async function logitsOf(model: Model): Promise<Float32Array> {
  const ids = tokens(4);
  const logits = tf.tidy(() => languageLogits(model as never, ids));
  const values = (await logits.data()) as Float32Array;
  tf.dispose([ids, logits]);
  return values;
}
