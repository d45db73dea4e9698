// The families of models that share the forward pass of Llama, by `model_type`: the defaults of absent fields, which are
// those of transformers' config classes, and the fields in which the families differ.

/** What distinguishes a family. */
export interface Family {
  /** the name of its classes in transformers, without `ForCausalLM` */
  readonly title: string;
  readonly defaults: {
    readonly vocab_size: number;
    readonly hidden_size: number;
    readonly intermediate_size: number;
    readonly num_hidden_layers: number;
    readonly num_attention_heads: number;
    /** null: as many as attention heads */
    readonly num_key_value_heads: number | null;
    /** null: hidden_size / num_attention_heads */
    readonly head_dim: number | null;
    readonly max_position_embeddings: number;
    readonly rope_theta: number;
    readonly tie_word_embeddings: boolean;
    readonly sliding_window: number | null;
    readonly eos_token_id: number | null;
  };
  /** biases of its projections: `attention_bias` or `mlp_bias` decides, or they are fixed */
  readonly biases: {
    readonly queriesKeysValues: "attention_bias" | boolean;
    readonly output: "attention_bias" | boolean;
    readonly mlp: "mlp_bias" | boolean;
  };
  /** whether queries and keys are normalized */
  readonly normedHeads: boolean;
  /**
   * the layers with a sliding window: none, all if `sliding_window` is set, those from `max_window_layers` if
   * `use_sliding_window` is set, or with it those without rotary positions. `layer_types` overrides the last two
   */
  readonly windows: "none" | "all" | "later" | "positionless";
}

const NO_BIASES = { queriesKeysValues: false, output: false, mlp: false } as const;

const QWEN = {
  vocab_size: 151_936,
  hidden_size: 4096,
  intermediate_size: 22_016,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  max_position_embeddings: 32_768,
  rope_theta: 10_000,
  tie_word_embeddings: false,
  sliding_window: 4096,
  eos_token_id: null,
} as const;

/** The families by `model_type`. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  llama: {
    title: "Llama",
    defaults: {
      vocab_size: 32_000,
      hidden_size: 4096,
      intermediate_size: 11_008,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: null,
      head_dim: null,
      max_position_embeddings: 2048,
      rope_theta: 10_000,
      tie_word_embeddings: false,
      sliding_window: null,
      eos_token_id: 2,
    },
    biases: { queriesKeysValues: "attention_bias", output: "attention_bias", mlp: "mlp_bias" },
    normedHeads: false,
    windows: "none",
  },
  mistral: {
    title: "Mistral",
    defaults: {
      vocab_size: 32_000,
      hidden_size: 4096,
      intermediate_size: 14_336,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      head_dim: null,
      max_position_embeddings: 131_072,
      rope_theta: 10_000,
      tie_word_embeddings: false,
      sliding_window: 4096,
      eos_token_id: 2,
    },
    biases: NO_BIASES,
    normedHeads: false,
    windows: "all",
  },
  qwen2: {
    title: "Qwen2",
    defaults: { ...QWEN, head_dim: null },
    biases: { ...NO_BIASES, queriesKeysValues: true },
    normedHeads: false,
    windows: "later",
  },
  qwen3: {
    title: "Qwen3",
    defaults: { ...QWEN, head_dim: 128 },
    biases: { queriesKeysValues: "attention_bias", output: "attention_bias", mlp: false },
    normedHeads: true,
    windows: "later",
  },
  smollm3: {
    title: "SmolLM3",
    defaults: {
      vocab_size: 128_256,
      hidden_size: 2048,
      intermediate_size: 11_008,
      num_hidden_layers: 36,
      num_attention_heads: 16,
      num_key_value_heads: 4,
      head_dim: null,
      max_position_embeddings: 32_768,
      rope_theta: 2_000_000,
      tie_word_embeddings: true,
      sliding_window: null,
      eos_token_id: 128_001,
    },
    biases: { queriesKeysValues: "attention_bias", output: "attention_bias", mlp: "mlp_bias" },
    normedHeads: false,
    windows: "positionless",
  },
};
