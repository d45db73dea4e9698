// Reads and checks GPT-2's config.json: the fields of Hugging Face's GPT2Config that change the computation. Settings
// that are not supported are refused by name.

import { z } from "zod";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { blockCount, chance, checked, count, EndOfText } from "../parts/config-fields.ts";

/** The activation functions of the MLPs that are supported. */
export type Gpt2Activation = "gelu" | "gelu_tanh" | "relu" | "silu" | "tanh";

/** The settings of a GPT-2 that its computation needs. */
export interface Gpt2Config {
  blocks: number;
  /** n, the width of the residual stream */
  width: number;
  heads: number;
  /** longest sequence, in tokens */
  positions: number;
  vocabulary: number;
  /** width of each MLP's hidden layer */
  innerWidth: number;
  /** ε of the layer normalizations */
  epsilon: number;
  activation: Gpt2Activation;
  /** dropout rates in training, of embeddings, of the outputs of attention and MLP, and of attention weights */
  dropout: { embedding: number; residual: number; attention: number };
  /** whether scores are divided by √head_dim */
  scaleAttention: boolean;
  /** whether the scores of block i = 0, 1, … are divided by i + 1 */
  scaleAttentionByBlock: boolean;
  /** whether the output head is the token embedding */
  tiedHead: boolean;
  /** tokens that end a text */
  endOfText: readonly number[];
}

/**
 * Activations by name. The three names of the tanh approximation differ only in the precision of Python's constants.
 */
const ACTIVATIONS: Readonly<Record<string, Gpt2Activation>> = {
  gelu_new: "gelu_tanh",
  gelu_pytorch_tanh: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  gelu: "gelu",
  gelu_python: "gelu",
  relu: "relu",
  silu: "silu",
  swish: "silu",
  tanh: "tanh",
};

const rate = chance(0.1);

// The defaults are those of GPT2Config. reorder_and_upcast_attn has no effect in float32.
const FIELDS = z.object({
  n_layer: blockCount,
  n_embd: count,
  n_head: count,
  n_positions: count,
  vocab_size: count,
  n_inner: count.nullish(),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  activation_function: z.enum(Object.keys(ACTIVATIONS)).default("gelu_new"),
  embd_pdrop: rate,
  resid_pdrop: rate,
  attn_pdrop: rate,
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  reorder_and_upcast_attn: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
  add_cross_attention: z.literal(false).default(false),
  eos_token_id: EndOfText,
});

/**
 * Reads and checks the config.json of a GPT-2.
 * @throws ModelError such as `gpt2/config.json: n_head must divide n_embd 768, is 10`
 */
export function readGpt2Config(json: Record<string, unknown>, file: string): Gpt2Config {
  const fields = checked(FIELDS, { ...json, n_positions: json.n_positions ?? json.n_ctx }, file);
  if (fields.n_embd % fields.n_head !== 0) {
    throw new ModelError(`n_head must divide n_embd ${fields.n_embd}, is ${fields.n_head}`, { file });
  }
  return {
    blocks: fields.n_layer,
    width: fields.n_embd,
    heads: fields.n_head,
    positions: fields.n_positions,
    vocabulary: fields.vocab_size,
    innerWidth: fields.n_inner ?? 4 * fields.n_embd,
    epsilon: fields.layer_norm_epsilon,
    activation: ACTIVATIONS[fields.activation_function] as Gpt2Activation,
    dropout: { embedding: fields.embd_pdrop, residual: fields.resid_pdrop, attention: fields.attn_pdrop },
    scaleAttention: fields.scale_attn_weights,
    scaleAttentionByBlock: fields.scale_attn_by_inverse_layer_idx,
    tiedHead: fields.tie_word_embeddings,
    endOfText: [fields.eos_token_id ?? []].flat(),
  };
}
