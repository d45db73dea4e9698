// Makes a config.json for GPT-2 weights that have none, and the extra tensors of the reference implementation's
// checkpoints. Fields that the shapes do not determine have the values of the published models.

import type { TensorSource } from "../../../hub/safetensors/index.ts";
import type { ReferenceModels, WeightsReader } from "../architecture.ts";
import { countNumbered, findSetting, isCount, sideOf, usualHeads } from "../parts/checkpoint.ts";
import type { Gpt2Config } from "./config.ts";

const BODY = "transformer.";
const HEAD = "lm_head.weight";
const VOCABULARY = 50257;
/** last token of the published vocabulary */
const END_OF_TEXT = VOCABULARY - 1;

/** Recognizes and describes GPT-2 weights without config.json. */
export const gpt2Weights: WeightsReader<Gpt2Config> = {
  head: "lm_head",
  prefix: BODY,
  width: [`${BODY}wte.weight`, 1],

  recognizes: (tensors) => tensors.has(`${BODY}wte.weight`) && tensors.has(`${BODY}h.0.ln_1.weight`),

  config(checkpoint, { heads }) {
    const { file, tensors, rest, tied } = checkpoint;
    const side = (name: string, axis: number): number => sideOf(checkpoint, BODY + name, axis);
    const [vocabulary, width] = [side("wte.weight", 0), side("wte.weight", 1)];
    const inner = side("h.0.mlp.c_fc.bias", 0);
    const hyper = rest.hyper_parameters ?? {};
    return {
      model_type: "gpt2",
      architectures: ["GPT2LMHeadModel"],
      vocab_size: vocabulary,
      n_embd: width,
      n_layer: countNumbered(checkpoint, /^transformer\.h\.(\d+)\./),
      n_head: heads ?? findSetting(hyper, ["n_head", "num_attention_heads"], isCount) ?? usualHeads(width, file),
      n_positions: side("wpe.weight", 0),
      n_inner: inner === 4 * width ? null : inner,
      activation_function: "gelu_new",
      layer_norm_epsilon: 1e-5,
      tie_word_embeddings: !tensors.has(HEAD) || tied.has(HEAD),
      ...(vocabulary >= VOCABULARY && { bos_token_id: END_OF_TEXT, eos_token_id: END_OF_TEXT }),
    };
  },
};

/**
 * The reference's checkpoints also hold the causal masks and the tied head, as older versions of transformers wrote
 * them.
 */
export const gpt2Reference: ReferenceModels<Gpt2Config> = {
  gaussian: false,

  async others(model) {
    const { blocks, positions, tiedHead } = model.config;
    const masks = Array.from({ length: blocks }, (_, block) => causalMask(`${BODY}h.${block}.attn`, positions));
    if (!tiedHead) return masks.flat();
    const embedding = model.parameter("wte.weight");
    const data = (await embedding.data()) as Float32Array;
    return [...masks.flat(), { name: HEAD, dtype: "F32", shape: embedding.shape, data }];
  },
};

function causalMask(attention: string, positions: number): TensorSource[] {
  const mask = new Uint8Array(positions * positions);
  for (let row = 0; row < positions; row++) mask.fill(1, row * positions, row * positions + row + 1);
  return [
    { name: `${attention}.bias`, dtype: "U8", shape: [1, 1, positions, positions], data: mask },
    { name: `${attention}.masked_bias`, dtype: "F32", shape: [], data: Float32Array.of(-1e4) },
  ];
}
