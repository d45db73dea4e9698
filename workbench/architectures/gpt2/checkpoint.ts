// The config.json of a GPT-2 out of the reference implementation's checkpoint: sizes from shapes. The fields that leave no
// trace in shapes are those of the published models, which it starts from.

import { usualHeads } from "../parts/heads.ts";
import { findSetting, isCount } from "../parts/hyper-parameters.ts";
import { countNumbered, sideOf } from "../parts/tensor-shapes.ts";
import type { ReferenceReader } from "../reader.ts";

const BODY = "transformer.";
const HEAD = "lm_head.weight";
const VOCABULARY = 50257;
/** the last token of the published vocabulary */
const END_OF_TEXT = VOCABULARY - 1;

export const gpt2Reader: ReferenceReader = {
  type: "gpt2",
  gaussian: false,

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
