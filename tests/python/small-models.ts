// Small GPT-2s with random weights, their layers held in every structure, for tests that read them with something else.

import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../workbench/architectures/parts/language-model.ts";
import type { Gpt2Config } from "../../workbench/models/index.ts";
import { createModel, denseWeight, gpt2, type Model, replaceLayer } from "../../workbench/models/index.ts";
import { gblrStructure } from "../../workbench/structures/gblr.ts";
import { matrixStructure } from "../structures/matrix-structures.ts";

const CONFIG = { n_layer: 3, n_embd: 24, n_head: 4, n_positions: 16, vocab_size: 50, tie_word_embeddings: true };

/** Two sequences of 13 tokens. */
export const IDS: number[][] = [0, 1].map((row) => Array.from({ length: 13 }, (_, i) => (7 * i + 11 * row + 3) % 50));

export interface SmallOptions {
  /** of the masks; default none */
  sigma?: number;
  /** fields of config.json */
  config?: Record<string, unknown>;
}

/** Block by block other structures; one dense layer in each. */
const STRUCTURES = [
  { "attn.c_attn": "gblr", "mlp.c_fc": "gblr", "mlp.c_proj": "lowrank" },
  { "attn.c_attn": "monarch", "mlp.c_fc": "gblr", "mlp.c_proj": "block-low-rank" },
  { "attn.c_attn": "gblr", "mlp.c_fc": "block-sparse", "mlp.c_proj": "gblr" },
];

export async function smallModel({ sigma, config }: SmallOptions = {}): Promise<Model<Gpt2Config>> {
  const model = createModel(gpt2, { ...CONFIG, ...config }, { seed: 5 });
  const layers = STRUCTURES.flatMap((block, i) =>
    Object.entries(block).map(([layer, name]) => [`h.${i}.${layer}`, name]),
  );
  await inStructures(model, { layers: Object.fromEntries(layers), sigma });
  return model;
}

/**
 * Holds layers of a new model in structures. Weights are larger than at the start of training, so that every layer shows
 * in the logits.
 * @param layers names of structures by those of layers
 */
export async function inStructures<Config>(
  model: Model<Config>,
  { layers, sigma }: { layers: Readonly<Record<string, string>>; sigma?: number | undefined },
): Promise<void> {
  for (const [name, variable] of model.parameters) {
    const scale = name.endsWith("weight") && variable.rank === 2 ? 12 : 1;
    const noise = tf.randomNormal(variable.shape, 0, 0.1, "float32", 7);
    variable.assign(tf.tidy(() => variable.mul(scale).add(noise)));
    noise.dispose();
  }
  if (sigma !== undefined) model.masks.sigma = sigma;
  for (const [layer, structure] of Object.entries(layers)) await hold(model, layer, structure);
}

async function hold<Config>(model: Model<Config>, name: string, structure: string): Promise<void> {
  const weight = denseWeight(model, name);
  if (structure === "gblr") {
    const held = gblrStructure(model.masks);
    const parameters = { ...(await held.fromDense(weight, 0.6, {})) };
    const { widths, locations } = parameters;
    // Blocks of every width, some dead, some that reach past the end.
    parameters.widths = tf.randomUniform(widths?.shape ?? [], 0, 0.8, "float32", 3);
    parameters.locations = tf.randomUniform(locations?.shape ?? [], 0, 1, "float32", 4);
    tf.dispose([widths, locations]);
    replaceLayer(model, name, held, parameters as never);
  } else {
    const held = matrixStructure(structure);
    replaceLayer(model, name, held, await held.fromDense(weight, 0.7));
  }
  weight.dispose();
}

/** As evaluation has them, (2 · 13 · 50) in a row. */
export async function logitsOf(model: Model): Promise<Float32Array> {
  const ids = tf.tensor2d(IDS, undefined, "int32");
  const logits = languageLogits(model as Model<Gpt2Config>, ids);
  const values = (await logits.data()) as Float32Array;
  tf.dispose([ids, logits]);
  return values;
}
