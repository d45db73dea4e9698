// Makes a config.json for weights of Llama's family that have none. The tensors tell the family and the sizes; what they
// do not determine, such as the base of rotary positions, is read from hyper-parameters beside them or has the default
// of the family.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { TensorInfo } from "../../../hub/safetensors/index.ts";
import type { WeightsFile, WeightsReader } from "../architecture.ts";
import { countNumbered, findSetting, isCount, sideOf, usualHeads } from "../parts/checkpoint.ts";
import type { LlamaConfig } from "./config.ts";
import { FAMILIES } from "./families.ts";

const BODY = "model.";
const HEAD = "lm_head.weight";
const FIRST = `${BODY}layers.0.`;
const QUERIES = `${FIRST}self_attn.q_proj.weight`;

const isNumber = (value: unknown): value is number => typeof value === "number" && value > 0;

/** Recognizes and describes weights of Llama's family without config.json. */
export const llamaWeights: WeightsReader<LlamaConfig> = {
  prefix: BODY,
  width: [QUERIES, 0],

  recognizes: (tensors) => tensors.has(`${BODY}embed_tokens.weight`) && tensors.has(QUERIES),

  config(checkpoint, { heads: said }) {
    const { file, tensors, rest, tied } = checkpoint;
    const side = (name: string, axis: number): number => sideOf(checkpoint, BODY + name, axis);
    const hyper = rest.hyper_parameters ?? {};
    const type = familyOf(tensors);
    const queries = side("layers.0.self_attn.q_proj.weight", 0);
    const normed = tensors.get(`${FIRST}self_attn.q_norm.weight`)?.shape[0];
    const heads = normed
      ? queries / normed
      : (said ?? findSetting(hyper, ["num_attention_heads"], isCount) ?? usualHeads(queries, file));
    const headSize = queries / heads;
    const keys = side("layers.0.self_attn.k_proj.weight", 0);
    if (!Number.isInteger(headSize) || keys % headSize !== 0) {
      const problem = `${heads} heads must divide its ${queries} rows, and their size the ${keys} rows of the keys`;
      throw new ModelError(problem, { file, tensor: QUERIES });
    }
    const { defaults } = FAMILIES[type] as (typeof FAMILIES)[string];
    return {
      model_type: type,
      architectures: [`${FAMILIES[type]?.title}ForCausalLM`],
      vocab_size: side("embed_tokens.weight", 0),
      hidden_size: side("embed_tokens.weight", 1),
      intermediate_size: side("layers.0.mlp.up_proj.weight", 0),
      num_hidden_layers: countNumbered(checkpoint, /^model\.layers\.(\d+)\./),
      num_attention_heads: heads,
      num_key_value_heads: keys / headSize,
      head_dim: headSize,
      hidden_act: "silu",
      max_position_embeddings:
        findSetting(hyper, ["max_position_embeddings"], isCount) ?? defaults.max_position_embeddings,
      rms_norm_eps: findSetting(hyper, ["rms_norm_eps"], isNumber) ?? 1e-6,
      rope_parameters: {
        rope_type: "default",
        rope_theta: findSetting(hyper, ["rope_theta"], isNumber) ?? defaults.rope_theta,
      },
      ...(type === "llama" && {
        attention_bias: tensors.has(`${FIRST}self_attn.q_proj.bias`),
        mlp_bias: tensors.has(`${FIRST}mlp.up_proj.bias`),
      }),
      ...(type === "qwen3" && { attention_bias: tensors.has(`${FIRST}self_attn.q_proj.bias`) }),
      tie_word_embeddings: !tensors.has(HEAD) || tied.has(HEAD),
      eos_token_id: null,
    };
  },
};

/** Qwen3 normalizes heads; Qwen2 has biases of queries, keys and values, but not of attention's output. */
function familyOf(tensors: WeightsFile["tensors"] | ReadonlyMap<string, TensorInfo>): keyof typeof FAMILIES {
  if (tensors.has(`${FIRST}self_attn.q_norm.weight`)) return "qwen3";
  const [queries, output] = ["q_proj", "o_proj"].map((part) => tensors.has(`${FIRST}self_attn.${part}.bias`));
  return queries && !output ? "qwen2" : "llama";
}
