// Small models of Llama's families, with grouped heads and weights large enough to tell them apart.

import { createModel, type LlamaConfig, llama, type Model } from "../../workbench/models/index.ts";
import { livelier } from "./tiny.ts";

export const SMALL_LLAMA = {
  vocab_size: 40,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 16,
  bos_token_id: 1,
  eos_token_id: 2,
};

/** Fields of config.json of one model of each family; all differ in names of tensors or in what is computed. */
export const LLAMAS = {
  "Llama, tied": { model_type: "llama", tie_word_embeddings: true },
  "Llama with biases": { model_type: "llama", attention_bias: true, mlp_bias: true },
  "Mistral with a window": { model_type: "mistral", sliding_window: 5 },
  Qwen2: { model_type: "qwen2", tie_word_embeddings: true },
  Qwen3: { model_type: "qwen3" },
  SmolLM3: { model_type: "smollm3", no_rope_layer_interval: 2 },
} as const;

/** @param settings fields of config.json beside SMALL_LLAMA, e.g. those of LLAMAS */
export const smallLlama = (
  settings: Readonly<Record<string, unknown>> = LLAMAS["Llama, tied"],
  seed = 1,
): Model<LlamaConfig> => livelier(createModel(llama, { ...SMALL_LLAMA, ...settings }, { seed }), seed + 1);
