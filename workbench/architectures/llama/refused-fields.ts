// Fields of config.json that change the computation of related models but not that of these, or that contradict the
// family. They are refused by name unless they have a value without effect. Fields that are not listed are ignored, as
// in the other architectures.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { Family } from "./families.ts";

type Json = Readonly<Record<string, unknown>>;

/** Fields of related models, and their values without effect; null never has one. */
const OTHERS: Readonly<Record<string, readonly unknown[]>> = {
  // factors and limits of Granite, MiniCPM, Cohere, Gemma
  embedding_multiplier: [1],
  residual_multiplier: [1],
  attention_multiplier: [],
  logits_scaling: [1],
  logit_scale: [1],
  final_logit_softcapping: [],
  attn_logit_softcapping: [],
  query_pre_attn_scalar: [],
  scale_emb: [1],
  scale_depth: [],
  dim_model_base: [],
  clip_qkv: [],
  // mixtures of experts
  num_experts: [0],
  num_local_experts: [0, 1],
  n_routed_experts: [0],
  n_shared_experts: [0],
  moe_intermediate_size: [],
  // other attention
  is_causal: [true],
  use_bidirectional_attention: [false],
  add_cross_attention: [false],
  attention_chunk_size: [],
  attn_temperature_tuning: [false],
  kv_lora_rank: [],
  q_lora_rank: [],
  use_qk_norm: [false],
  qk_layernorm: [false],
  use_mrope: [false],
  use_rope: [true],
  rope_interleave: [false],
  rope_interleaved: [false],
  alibi: [false],
  use_alibi: [false],
  use_parallel_residual: [false],
  // models of several parts
  per_layer_config: [],
  vision_config: [],
  text_config: [],
};

/** How the weights are stored: GGUF is dequantized when it is imported. */
const QUANTIZATION = "quantization_config";
const DEQUANTIZED = ["gguf"];

/**
 * Refuses fields that change the result and are not obeyed.
 * @throws ModelError such as `x/config.json: num_experts is 8, which is not computed here`
 */
export function refuseOtherFields(json: Json, family: Family, file: string): void {
  for (const [name, neutral] of Object.entries({ ...OTHERS, ...fixedBy(family) })) {
    const value = json[name] ?? null;
    if (value === null || neutral.includes(value)) continue;
    throw new ModelError(`${name} is ${JSON.stringify(value).slice(0, 80)}, which is not computed here`, { file });
  }
  const method = (json[QUANTIZATION] as { quant_method?: unknown } | null | undefined)?.quant_method ?? null;
  if (json[QUANTIZATION] == null || DEQUANTIZED.includes(method as string)) return;
  const problem = `${QUANTIZATION}.quant_method is ${JSON.stringify(method)}: expected weights that are not quantized`;
  throw new ModelError(problem, { file });
}

/** The fields whose value is fixed in a family, because its class in transformers does not read them. */
function fixedBy({ biases, windows }: Family): Record<string, readonly unknown[]> {
  const ofAttention = biases.queriesKeysValues;
  return {
    ...(typeof ofAttention === "boolean" && { attention_bias: [ofAttention] }),
    ...(typeof biases.mlp === "boolean" && { mlp_bias: [biases.mlp] }),
    ...(windows === "none" && { sliding_window: [] }),
    ...((windows === "none" || windows === "all") && { use_sliding_window: [windows === "all"] }),
    ...(windows !== "positionless" && { no_rope_layers: [], no_rope_layer_interval: [] }),
  };
}
