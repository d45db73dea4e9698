// Small models of Llama's families with random weights, their layers held in every structure, for tests that read them
// with something else.

import { createModel, llama, type Model } from "../../../workbench/models/index.ts";
import { inStructures, type SmallOptions } from "../small-models.ts";

const SIZES = {
  vocab_size: 50,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  bos_token_id: 0,
  eos_token_id: 1,
  pad_token_id: null,
};

const LENGTH = { original_max_position_embeddings: 16 };

/** What each family has of its own, by `model_type`. */
export const FAMILIES: Readonly<Record<string, Record<string, unknown>>> = {
  llama: {
    attention_bias: true,
    mlp_bias: true,
    tie_word_embeddings: true,
    rope_theta: 500,
    rope_scaling: { rope_type: "llama3", factor: 4, low_freq_factor: 1, high_freq_factor: 4, ...LENGTH },
  },
  mistral: { sliding_window: 5, head_dim: 8, hidden_act: "gelu_pytorch_tanh" },
  qwen2: { use_sliding_window: true, sliding_window: 4, max_window_layers: 1, tie_word_embeddings: true },
  qwen3: { head_dim: 8, rope_parameters: { rope_type: "yarn", factor: 2, rope_theta: 500, ...LENGTH } },
  smollm3: { no_rope_layer_interval: 2, use_sliding_window: true, sliding_window: 4 },
};

/** The structures of the layers of each block. The other layers are dense. */
const STRUCTURES = [
  { "self_attn.q_proj": "gblr", "self_attn.o_proj": "lowrank", "mlp.gate_proj": "gblr", "mlp.down_proj": "monarch" },
  { "self_attn.k_proj": "block-low-rank", "self_attn.v_proj": "gblr", "mlp.up_proj": "block-sparse" },
  { "self_attn.q_proj": "monarch", "self_attn.k_proj": "lowrank", "mlp.down_proj": "gblr" },
];

/**
 * @param family `model_type`
 * @param options `isDense`: no layer is held in a structure
 */
export async function smallLlama(
  family: string,
  { sigma, config, isDense = false }: SmallOptions & { isDense?: boolean } = {},
): Promise<Model> {
  const json = { ...SIZES, model_type: family, ...FAMILIES[family], ...config };
  const model = createModel(llama, json, { seed: 5 });
  const layers = STRUCTURES.flatMap((block, i) =>
    Object.entries(block).map(([layer, name]) => [`layers.${i}.${layer}`, name]),
  );
  await inStructures(model, { layers: Object.fromEntries(isDense ? [] : layers), sigma });
  return model as unknown as Model;
}
