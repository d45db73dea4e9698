// GPT-2 in GGUF. transformers stores the matrices of its linear layers as (in, out), GGUF as (out, in), so they are
// transposed.

import {
  blockCount,
  expectKeys,
  type Family,
  layers,
  type ModelPlan,
  type ModelTensor,
  matrixShape,
  SAME,
} from "./family.ts";
import type { GgufFile } from "./header.ts";

const KEYS: ReadonlySet<string> = new Set([
  "attention.head_count",
  "attention.head_count_kv",
  "attention.layer_norm_epsilon",
  "block_count",
  "context_length",
  "embedding_length",
  "feed_forward_length",
  "rope.dimension_count", // written for all architectures by older converters; GPT-2 has no rotary positions
  "tensor_data_layout",
  "vocab_size",
]);

/** GPT-2. */
export const gpt2Family: Family = { architectures: ["gpt2"], plan };

async function plan(gguf: GgufFile): Promise<ModelPlan> {
  expectKeys(gguf, "gpt2", KEYS);
  const { metadata } = gguf;
  const [vocabulary, width] = matrixShape(gguf, "token_embd.weight");
  const given = metadata.needCount("gpt2.embedding_length");
  if (given !== width) throw metadata.fail("gpt2.embedding_length", `${width}, the width of the embedding`, given);
  const heads = metadata.needCount("gpt2.attention.head_count");
  if (heads < 1 || width % heads !== 0)
    throw metadata.fail("gpt2.attention.head_count", `a divisor of ${width}`, heads);
  const keyHeads = metadata.count("gpt2.attention.head_count_kv") ?? heads;
  if (keyHeads !== heads) throw metadata.fail("gpt2.attention.head_count_kv", `${heads}, as head_count`, keyHeads);
  const positions = metadata.needCount("gpt2.context_length");
  const inner = metadata.count("gpt2.feed_forward_length") ?? 4 * width;
  const tied = !gguf.tensors.has("output.weight");
  const count = blockCount(gguf, "gpt2");
  const epsilon = metadata.number("gpt2.attention.layer_norm_epsilon") ?? 1e-5;
  return {
    config: {
      activation_function: "gelu_new",
      architectures: ["GPT2LMHeadModel"],
      attn_pdrop: 0.1,
      embd_pdrop: 0.1,
      initializer_range: 0.02,
      layer_norm_epsilon: epsilon,
      model_type: "gpt2",
      n_ctx: positions,
      n_embd: width,
      n_head: heads,
      n_inner: inner === 4 * width ? null : inner,
      n_layer: count,
      n_positions: positions,
      resid_pdrop: 0.1,
      tie_word_embeddings: tied,
      use_cache: true,
      vocab_size: vocabulary,
    },
    tensors: gpt2Tensors({ count, width, inner, positions, vocabulary, tied }),
  };
}

/** The sizes of a GPT-2 that determine its tensors. */
export interface Gpt2Sizes {
  /** number of blocks */
  count: number;
  width: number;
  inner: number;
  positions: number;
  vocabulary: number;
  /** whether the head is the embedding */
  tied: boolean;
}

/** The tensors of a GPT-2 in a file. */
export function gpt2Tensors({ count, width, inner, positions, vocabulary, tied }: Gpt2Sizes): ModelTensor[] {
  const asStored = (stored: string, name: string, shape: readonly number[]): ModelTensor => {
    return { stored, name, shape, order: SAME };
  };
  const norm = (stored: string, name: string): ModelTensor[] =>
    ["weight", "bias"].map((part) => asStored(`${stored}.${part}`, `transformer.${name}.${part}`, [width]));
  return [
    asStored("token_embd.weight", "transformer.wte.weight", [vocabulary, width]),
    asStored("position_embd.weight", "transformer.wpe.weight", [positions, width]),
    ...layers(count, (layer) => {
      const linear = (from: string, to: string, shape: readonly [number, number]): ModelTensor[] => [
        {
          stored: `blk.${layer}.${from}.weight`,
          name: `transformer.h.${layer}.${to}.weight`,
          shape,
          order: { kind: "transposed" },
        },
        asStored(`blk.${layer}.${from}.bias`, `transformer.h.${layer}.${to}.bias`, [shape[1]]),
      ];
      return [
        ...norm(`blk.${layer}.attn_norm`, `h.${layer}.ln_1`),
        ...linear("attn_qkv", "attn.c_attn", [width, 3 * width]),
        ...linear("attn_output", "attn.c_proj", [width, width]),
        ...norm(`blk.${layer}.ffn_norm`, `h.${layer}.ln_2`),
        ...linear("ffn_up", "mlp.c_fc", [width, inner]),
        ...linear("ffn_down", "mlp.c_proj", [inner, width]),
      ];
    }),
    ...norm("output_norm", "ln_f"),
    ...(tied ? [] : [asStored("output.weight", "lm_head.weight", [vocabulary, width])]),
  ];
}
