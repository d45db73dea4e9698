// The small models of Llama's families that the tests compare with transformers: every family, and every field of
// config.json that changes the result.

export const SIZES = {
  vocab_size: 40,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: null,
};

export interface FamilyCase {
  /** content of config.json beside SIZES */
  config: Record<string, unknown>;
  /** arguments of `save_pretrained`, and the type of the weights */
  save?: Record<string, unknown>;
  /** whether only a part of each head is rotated, which needs another function in transformers */
  partial?: boolean;
}

const llama = (config: Record<string, unknown> = {}, others: Omit<FamilyCase, "config"> = {}): FamilyCase => ({
  config: { model_type: "llama", ...config },
  ...others,
});
const scaled = (rope: Record<string, unknown>, config: Record<string, unknown> = {}) =>
  llama({ rope_parameters: { rope_theta: 100, ...rope }, ...config });

const YARN = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 16 };

/** By name, as folders are named. */
export const FAMILY_CASES: Readonly<Record<string, FamilyCase>> = {
  llama: llama(),
  "llama, tied": llama({ tie_word_embeddings: true }),
  "llama, biases": llama({ attention_bias: true, mlp_bias: true }),
  "llama, a head size of its own": llama({ head_dim: 12 }),
  "llama, one head of keys": llama({ num_key_value_heads: 1 }),
  "llama, as many heads of keys": llama({ num_key_value_heads: null }),
  "llama, gelu": llama({ hidden_act: "gelu_pytorch_tanh" }),
  "llama, another epsilon": llama({ rms_norm_eps: 0.1 }),
  "llama, pretraining_tp": llama({ pretraining_tp: 2 }),
  "llama, base of rotary positions": scaled({ rope_type: "default" }),
  "llama, base by its old name": llama({ rope_theta: 100 }),
  "llama, linear": scaled({ rope_type: "linear", factor: 4 }),
  "llama, linear by its old names": llama({ rope_theta: 100, rope_scaling: { type: "linear", factor: 2.5 } }),
  "llama, dynamic within its positions": scaled({ rope_type: "dynamic", factor: 2 }),
  "llama, dynamic beyond its positions": scaled({ rope_type: "dynamic", factor: 2 }, { max_position_embeddings: 8 }),
  "llama, llama3": scaled({
    ...{ rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
    original_max_position_embeddings: 32,
  }),
  "llama, llama3 by its old names": llama({
    rope_theta: 50,
    rope_scaling: {
      ...{ rope_type: "llama3", factor: 4, low_freq_factor: 1, high_freq_factor: 2 },
      original_max_position_embeddings: 32,
    },
  }),
  "llama, yarn": scaled(YARN),
  "llama, yarn, attention factor": scaled({ ...YARN, attention_factor: 0.8 }),
  "llama, yarn, mscale": scaled({ ...YARN, mscale: 1.5, mscale_all_dim: 0.5 }),
  "llama, yarn, borders": scaled({ ...YARN, beta_fast: 3, beta_slow: 0.5 }),
  "llama, yarn, exact borders": scaled({ ...YARN, beta_fast: 3, beta_slow: 0.5, truncate: false }),
  "llama, yarn, factor by the positions": scaled({ ...YARN, factor: null }),
  "llama, yarn, length outside": scaled(YARN, { original_max_position_embeddings: 8 }),
  "llama, partial": llama({ partial_rotary_factor: 0.5 }, { partial: true }),
  "llama, partial and linear": llama(
    { head_dim: 12, rope_parameters: { rope_type: "linear", factor: 2, rope_theta: 100, partial_rotary_factor: 0.5 } },
    { partial: true },
  ),
  "llama in bfloat16, in pieces": llama({}, { save: { dtype: "bfloat16", max_shard_size: "8KB" } }),
  "llama in float16": llama({}, { save: { dtype: "float16" } }),
  mistral: { config: { model_type: "mistral" } },
  "mistral, window": { config: { model_type: "mistral", sliding_window: 4 } },
  "mistral, no window": { config: { model_type: "mistral", sliding_window: null, head_dim: 12 } },
  qwen2: { config: { model_type: "qwen2" } },
  "qwen2, tied, later windows": {
    config: {
      ...{ model_type: "qwen2", tie_word_embeddings: true },
      ...{ use_sliding_window: true, sliding_window: 3, max_window_layers: 1 },
    },
  },
  "qwen2, windows by layer": {
    config: {
      ...{ model_type: "qwen2", use_sliding_window: true, sliding_window: 3 },
      layer_types: ["sliding_attention", "full_attention", "sliding_attention"],
    },
  },
  qwen3: { config: { model_type: "qwen3", head_dim: 16 } },
  "qwen3, biases, later windows": {
    config: {
      ...{ model_type: "qwen3", head_dim: 8, attention_bias: true },
      ...{ use_sliding_window: true, sliding_window: 3, max_window_layers: 2 },
    },
  },
  smollm3: { config: { model_type: "smollm3", no_rope_layer_interval: 2 } },
  "smollm3, untied, biases": {
    config: {
      ...{ model_type: "smollm3", no_rope_layers: [0, 1, 1], tie_word_embeddings: false },
      ...{ attention_bias: true, mlp_bias: true },
    },
  },
  "smollm3, windows without positions": {
    config: { model_type: "smollm3", no_rope_layers: [1, 0, 0], use_sliding_window: true, sliding_window: 3 },
  },
  "smollm3, windows by layer": {
    config: {
      ...{ model_type: "smollm3", no_rope_layers: [1, 0, 1], use_sliding_window: true, sliding_window: 3 },
      layer_types: ["sliding_attention", "full_attention", "full_attention"],
    },
  },
};
