// Llama and its relatives in GGUF: llama (also the architecture of Mistral's files), qwen2, qwen3 and smollm3. The fields of
// config.json are those that transformers' reader of GGUF sets, and others that the file determines. Anything that would
// change the result and cannot be expressed is refused by name.

import {
  blockCount,
  expectKeys,
  type Family,
  layers,
  type ModelPlan,
  type ModelTensor,
  matrixShape,
  type Order,
  SAME,
} from "./family.ts";
import type { GgufFile } from "./header.ts";
import { ROPE_KEYS, ropeParameters } from "./rope.ts";
import { GgufError } from "./types.ts";

/** How the architectures differ. */
export interface LlamaVariant {
  modelType: string;
  model: string;
  /** whether llama.cpp interleaves the rows of queries and keys */
  interleaved: boolean;
  /** whether queries and keys are normalized per head */
  norms: boolean;
  /** whether queries, keys and values always have biases, without a field in config.json */
  biased: boolean;
}

const LLAMA: LlamaVariant = {
  modelType: "llama",
  model: "LlamaForCausalLM",
  interleaved: true,
  norms: false,
  biased: false,
};

/** The architectures by name. */
export const LLAMA_VARIANTS: ReadonlyMap<string, LlamaVariant> = new Map([
  ["llama", LLAMA],
  ["smollm3", { ...LLAMA, modelType: "smollm3", model: "SmolLM3ForCausalLM" }],
  ["qwen2", { ...LLAMA, modelType: "qwen2", model: "Qwen2ForCausalLM", interleaved: false, biased: true }],
  ["qwen3", { ...LLAMA, modelType: "qwen3", model: "Qwen3ForCausalLM", interleaved: false, norms: true }],
]);

/** Keys that are read, or that have no effect on the result. */
const KEYS: ReadonlySet<string> = new Set([
  "attention.head_count",
  "attention.head_count_kv",
  "attention.key_length",
  "attention.layer_norm_rms_epsilon",
  "attention.sliding_window",
  "attention.value_length",
  "block_count",
  "context_length",
  "embedding_length",
  "expert_count",
  "expert_used_count",
  "feed_forward_length",
  "tensor_data_layout",
  "vocab_size",
  ...ROPE_KEYS,
]);

/** Llama, Mistral, Qwen2, Qwen3 and SmolLM3. */
export const llamaFamily: Family = { architectures: [...LLAMA_VARIANTS.keys()], plan };

async function plan(gguf: GgufFile, architecture: string): Promise<ModelPlan> {
  expectKeys(gguf, architecture, KEYS);
  const variant = LLAMA_VARIANTS.get(architecture) as LlamaVariant;
  const sizes = sizesOf(gguf, architecture);
  const biases = biasesOf(gguf, variant);
  const rope = await ropeParameters(gguf, architecture, sizes.headDim);
  const window = gguf.metadata.count(`${architecture}.attention.sliding_window`) ?? 0;
  const tied = !gguf.tensors.has("output.weight");
  return {
    config: {
      architectures: [variant.model],
      ...(!variant.biased && { attention_bias: biases.attention }),
      attention_dropout: 0,
      head_dim: sizes.headDim,
      hidden_act: "silu",
      hidden_size: sizes.width,
      initializer_range: 0.02,
      intermediate_size: sizes.inner,
      max_position_embeddings: gguf.metadata.needCount(`${architecture}.context_length`),
      ...(!variant.biased && !variant.norms && { mlp_bias: biases.mlp }),
      model_type: variant.modelType,
      num_attention_heads: sizes.heads,
      num_hidden_layers: sizes.layers,
      num_key_value_heads: sizes.keyHeads,
      rms_norm_eps: epsilonOf(gguf, architecture),
      rope_parameters: rope.parameters,
      ...(window > 0 && slidingWindow(gguf, variant, window)),
      tie_word_embeddings: tied,
      use_cache: true,
      vocab_size: sizes.vocabulary,
    },
    tensors: llamaTensors(sizes, variant, { biases, tied }),
    consumed: rope.consumed,
  };
}

/** Sliding windows are a field of Mistral's config, not of Llama's. */
function slidingWindow({ file }: GgufFile, { modelType }: LlamaVariant, window: number): Record<string, unknown> {
  if (modelType === "llama") {
    return { architectures: ["MistralForCausalLM"], model_type: "mistral", sliding_window: window };
  }
  throw new GgufError(`has a sliding window, which is supported for Mistral, not for ${modelType}`, { file });
}

/** The sizes of a model that determine its tensors. */
export interface LlamaSizes {
  layers: number;
  width: number;
  inner: number;
  heads: number;
  /** heads of keys and values */
  keyHeads: number;
  /** channels of a head */
  headDim: number;
  vocabulary: number;
}

function sizesOf(gguf: GgufFile, architecture: string): LlamaSizes {
  const { file, metadata } = gguf;
  const key = (name: string) => `${architecture}.${name}`;
  const [vocabulary, columns] = matrixShape(gguf, "token_embd.weight");
  const width = metadata.needCount(key("embedding_length"));
  const heads = metadata.sameCount(key("attention.head_count")) ?? metadata.missing(key("attention.head_count"));
  const keyHeads = metadata.sameCount(key("attention.head_count_kv")) ?? heads;
  const experts = metadata.count(key("expert_count")) ?? 0;
  if (experts > 0) throw new GgufError(`is a mixture of ${experts} experts, which is not supported`, { file });
  if (columns !== width) throw metadata.fail(key("embedding_length"), `${columns}, the width of the embedding`, width);
  const rows = metadata.count(key("vocab_size")) ?? vocabulary;
  if (rows !== vocabulary) throw metadata.fail(key("vocab_size"), `${vocabulary}, the rows of the embedding`, rows);
  if (heads < 1 || keyHeads < 1 || heads % keyHeads !== 0) {
    throw new GgufError(`has ${heads} heads and ${keyHeads} key heads; one must be a multiple of the other`, { file });
  }
  const headDim = metadata.count(key("attention.key_length")) ?? width / heads;
  if (!Number.isInteger(headDim) || headDim < 2 || headDim % 2 !== 0) {
    throw new GgufError(`has heads of ${headDim} channels; an even number is needed`, { file });
  }
  const valueDim = metadata.count(key("attention.value_length")) ?? headDim;
  if (valueDim !== headDim) throw metadata.fail(key("attention.value_length"), `${headDim}, as key_length`, valueDim);
  const layers = blockCount(gguf, architecture);
  const inner = metadata.sameCount(key("feed_forward_length")) ?? metadata.missing(key("feed_forward_length"));
  return { layers, width, inner, heads, keyHeads, headDim, vocabulary };
}

function epsilonOf({ metadata }: GgufFile, architecture: string): number {
  const key = `${architecture}.attention.layer_norm_rms_epsilon`;
  const value = metadata.number(key) ?? metadata.missing(key);
  if (value > 0) return value;
  throw metadata.fail(key, "above 0", value);
}

interface Biases {
  attention: boolean;
  mlp: boolean;
}

/** Which linear layers have biases, according to the first block. The tensors of all blocks are checked later. */
function biasesOf({ file, tensors }: GgufFile, { biased }: LlamaVariant): Biases {
  const has = (names: readonly string[]) => names.filter((name) => tensors.has(`blk.0.${name}.bias`));
  const all = (what: string, names: readonly string[]): boolean => {
    const found = has(names);
    if (found.length === 0 || found.length === names.length) return found.length > 0;
    const without = names.find((name) => !found.includes(name));
    throw new GgufError(`has ${what} biases for ${found.join(", ")} but not for ${without}: not supported`, { file });
  };
  const [query, output] = [["attn_q", "attn_k", "attn_v"], "attn_output"];
  return {
    attention: biased || all("attention", [...query, output]),
    mlp: all("MLP", ["ffn_gate", "ffn_up", "ffn_down"]),
  };
}

/**
 * The tensors of a model in a file.
 * @param tied whether the head is the embedding
 */
export function llamaTensors(
  { layers: count, width, inner, heads, keyHeads, headDim, vocabulary }: LlamaSizes,
  { interleaved, norms, biased }: LlamaVariant,
  { biases, tied }: { biases: Biases; tied: boolean },
): ModelTensor[] {
  const order = (rows: number): Order => (interleaved ? { kind: "interleaved heads", heads: rows } : SAME);
  const vector = (stored: string, name: string, size: number): ModelTensor => {
    return { stored: `${stored}.weight`, name: `${name}.weight`, shape: [size], order: SAME };
  };
  return [
    { stored: "token_embd.weight", name: "model.embed_tokens.weight", shape: [vocabulary, width], order: SAME },
    ...layers(count, (layer) => {
      const linear = (from: string, to: string, shape: readonly [number, number], has: boolean, rows = SAME) => {
        const both = { stored: `blk.${layer}.${from}`, name: `model.layers.${layer}.${to}`, order: rows };
        return [
          { ...both, stored: `${both.stored}.weight`, name: `${both.name}.weight`, shape },
          ...(has ? [{ ...both, stored: `${both.stored}.bias`, name: `${both.name}.bias`, shape: [shape[0]] }] : []),
        ];
      };
      const norm = (from: string, to: string, size: number) =>
        vector(`blk.${layer}.${from}`, `model.layers.${layer}.${to}`, size);
      const { attention, mlp } = biases;
      return [
        norm("attn_norm", "input_layernorm", width),
        ...linear("attn_q", "self_attn.q_proj", [heads * headDim, width], attention, order(heads)),
        ...linear("attn_k", "self_attn.k_proj", [keyHeads * headDim, width], attention, order(keyHeads)),
        ...linear("attn_v", "self_attn.v_proj", [keyHeads * headDim, width], attention),
        ...linear("attn_output", "self_attn.o_proj", [width, heads * headDim], attention && !biased),
        ...(norms
          ? [norm("attn_q_norm", "self_attn.q_norm", headDim), norm("attn_k_norm", "self_attn.k_norm", headDim)]
          : []),
        norm("ffn_norm", "post_attention_layernorm", width),
        ...linear("ffn_gate", "mlp.gate_proj", [inner, width], mlp),
        ...linear("ffn_up", "mlp.up_proj", [inner, width], mlp),
        ...linear("ffn_down", "mlp.down_proj", [width, inner], mlp),
      ];
    }),
    vector("output_norm", "model.norm", width),
    ...(tied ? [] : [{ stored: "output.weight", name: "lm_head.weight", shape: [vocabulary, width], order: SAME }]),
  ];
}
