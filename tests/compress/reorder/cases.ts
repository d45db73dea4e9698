// Small models of every architecture, with parameters that all differ, their inputs, and random orders of their units.

import * as tf from "@tensorflow/tfjs-core";
import { llama } from "../../../workbench/architectures/llama/architecture.ts";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import type { Symmetry } from "../../../workbench/architectures/symmetry.ts";
import { RandomStream } from "../../../workbench/data/random.ts";
import { createModel, gpt2, isLanguageModel, type Model } from "../../../workbench/models/index.ts";
import { SIZES as LLAMA } from "../../architectures/llama/families.ts";
import {
  logitsOf as imageLogits,
  RESNET,
  RESNET_BOTTLENECKS,
  RESNET_TRANSFORMERS,
  smallMixer,
  smallResnet,
  smallVit,
  someImages,
  VIT,
  VIT_TRANSFORMERS,
} from "../../architectures/small-vision.ts";
import { livelier } from "../../models/tiny.ts";

const GPT2 = { n_layer: 2, n_embd: 24, n_head: 3, n_positions: 16, vocab_size: 40 };

const ofGpt2 = (settings: object = {}) => livelier(createModel(gpt2, { ...GPT2, ...settings })) as Model;
const ofLlama = (settings: object) => livelier(createModel(llama, { ...LLAMA, ...settings })) as Model;
const vitWith = (args: object) => smallVit({ ...VIT, model_args: { ...VIT.model_args, ...args } }) as Model;

/** Makes each model anew. Names that begin with `hf` have the config.json of transformers. */
export const MODELS: Readonly<Record<string, () => Model>> = {
  "gpt2, tied": () => ofGpt2(),
  "gpt2, a head of its own, another inner width": () => ofGpt2({ tie_word_embeddings: false, n_inner: 36 }),
  llama: () => ofLlama({ model_type: "llama" }),
  "llama, tied, biases": () =>
    ofLlama({ model_type: "llama", tie_word_embeddings: true, attention_bias: true, mlp_bias: true }),
  "llama, one head of keys, half of each head rotated": () =>
    ofLlama({ model_type: "llama", num_key_value_heads: 1, partial_rotary_factor: 0.5 }),
  mistral: () => ofLlama({ model_type: "mistral", head_dim: 12, sliding_window: 4 }),
  qwen2: () => ofLlama({ model_type: "qwen2" }),
  qwen3: () => ofLlama({ model_type: "qwen3", head_dim: 16, attention_bias: true }),
  "qwen3, half of each head rotated": () => ofLlama({ model_type: "qwen3", head_dim: 16, partial_rotary_factor: 0.5 }),
  "smollm3, a block without positions, biases": () =>
    ofLlama({ model_type: "smollm3", no_rope_layers: [0, 1, 1], attention_bias: true, mlp_bias: true }),
  "vit, timm": () => smallVit() as Model,
  "vit, hugging face": () => smallVit(VIT_TRANSFORMERS) as Model,
  "vit, mean of patches, no class token": () => vitWith({ global_pool: "avg", class_token: false }),
  "vit, tanh before the head, no biases": () => vitWith({ qkv_bias: false, representation_size: 10 }),
  "vit, gains of branches": () => smallVit({ ...VIT, architecture: "deit3_tiny_patch4_16.tag" }) as Model,
  mixer: () => smallMixer() as Model,
  "resnet, timm": () => smallResnet(RESNET) as Model,
  "resnet, hugging face": () => smallResnet(RESNET_TRANSFORMERS) as Model,
  "resnet of bottlenecks": () => smallResnet(RESNET_BOTTLENECKS) as Model,
};

const IDS = [0, 1].map((row) => Array.from({ length: 13 }, (_, i) => (7 * i + 11 * row + 3) % 40));

/** The logits of some inputs. */
export async function logitsOf(model: Model): Promise<Float32Array> {
  if (isLanguageModel(model)) {
    const logits = tf.tidy(() => languageLogits(model, tf.tensor2d(IDS, undefined, "int32")));
    const values = (await logits.data()) as Float32Array;
    logits.dispose();
    return values;
  }
  const size = model.architecture.type === "resnet" ? 24 : 16;
  const images = someImages(2, size);
  const values = await imageLogits(model, images);
  images.dispose();
  return values;
}

/** A random order of a symmetry's units that moves some of them. */
export const randomOrder = ({ size }: Symmetry, seed: number): Int32Array => Int32Array.from(shuffled(size, seed));

/** The numbers below `size` in a random order, which is not the ascending one. */
export function shuffled(size: number, seed: number): number[] {
  const order = new RandomStream(seed).order(size);
  return order.every((from, to) => from === to) ? order.reverse() : order;
}

/** The largest difference, as a share of the largest value. */
export function distance(values: Float32Array, expected: Float32Array): number {
  const largest = (of: (i: number) => number) => expected.reduce((most, _, i) => Math.max(most, Math.abs(of(i))), 0);
  return largest((i) => (values[i] as number) - (expected[i] as number)) / largest((i) => expected[i] as number);
}
