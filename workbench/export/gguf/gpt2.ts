// GPT-2 as llama.cpp knows it. Its activation is the tanh approximation, and scores are divided by √head_dim.

import { count, number } from "../../../hub/gguf/entries.ts";
import { gpt2Tensors } from "../../../hub/gguf/gpt2-family.ts";
import type { Gpt2Config } from "../../architectures/gpt2/config.ts";
import type { Model } from "../../models/index.ts";
import { type GgufPlan, notInLlamaCpp } from "./plan.ts";

/** @throws EngineError for a setting that llama.cpp does not have */
export function gpt2Plan({ config }: Model<Gpt2Config>): GgufPlan {
  expectUsual(config);
  const { blocks, width, heads, positions, vocabulary, innerWidth: inner, epsilon, tiedHead: tied } = config;
  return {
    architecture: "gpt2",
    prefix: "transformer.",
    metadata: {
      block_count: count(blocks),
      context_length: count(positions),
      embedding_length: count(width),
      feed_forward_length: count(inner),
      "attention.head_count": count(heads),
      "attention.layer_norm_epsilon": number(epsilon),
    },
    tensors: gpt2Tensors({ count: blocks, width, inner, positions, vocabulary, tied }),
  };
}

function expectUsual({ activation, scaleAttention, scaleAttentionByBlock }: Gpt2Config): void {
  if (activation !== "gelu_tanh") {
    throw notInLlamaCpp(`llama.cpp computes GPT-2 with gelu_new; activation_function of this model is ${activation}`);
  }
  if (!scaleAttention) throw notInLlamaCpp("llama.cpp has no GPT-2 with scale_attn_weights false");
  if (scaleAttentionByBlock) throw notInLlamaCpp("llama.cpp has no GPT-2 with scale_attn_by_inverse_layer_idx true");
}
