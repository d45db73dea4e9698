// Makes a config.json for weights of Llama's family that have none. The tensors tell the family and the sizes. What they
// do not determine, such as the base of rotary positions, is read from hyper-parameters beside them, or is assumed to be
// that of the published model with the same shapes (known-models.ts).

import type { Json } from "../../../hub/checkpoint/index.ts";
import { ModelError } from "../../../hub/model-folder/index.ts";
import type { TensorInfo } from "../../../hub/safetensors/index.ts";
import type { FoundHeads, WeightsFile, WeightsReader } from "../architecture.ts";
import {
  countNumbered,
  findSetting,
  isBoolean,
  isCount,
  isRecord,
  isText,
  type Settings,
  sideOf,
} from "../parts/checkpoint.ts";
import { EndOfText } from "../parts/config-fields.ts";
import type { LlamaConfig } from "./config.ts";
import { FAMILIES, type Family } from "./families.ts";
import { type KnownLlama, knownLlama, type LlamaSettings, type LlamaShapes, usualLlama } from "./known-models.ts";

const BODY = "model.";
const HEAD = "lm_head";
const FIRST = `${BODY}layers.0.`;
const QUERIES = `${FIRST}self_attn.q_proj.weight`;
const NORMED = `${FIRST}self_attn.q_norm.weight`;

/** Recognizes and describes weights of Llama's family without config.json. */
export const llamaWeights: WeightsReader<LlamaConfig> = {
  prefix: BODY,
  head: HEAD,
  heads: headsOf,

  recognizes: (tensors) => tensors.has(`${BODY}embed_tokens.weight`) && tensors.has(QUERIES),

  config(checkpoint, { heads = 1, ropeTheta }) {
    const { file, tensors, rest, tied } = checkpoint;
    const shapes = shapesOf(checkpoint);
    const known = settingsOf(checkpoint, shapes);
    const hyper = hyperOf(rest);
    const { type } = known;
    const headSize = shapes.queries / heads;
    if (!Number.isInteger(headSize) || shapes.keys % headSize !== 0) {
      const problem = `${heads} heads must divide its ${shapes.queries} rows, and their size the ${shapes.keys} rows of the keys`;
      throw new ModelError(problem, { file, tensor: QUERIES });
    }
    const bias = (layer: string) => tensors.has(`${FIRST}${layer}.bias`);
    const { title, biases } = FAMILIES[type] as Family;
    const hasHead = tensors.has(`${HEAD}.weight`);
    const isTied = hasHead ? tied.has(`${HEAD}.weight`) : hyper.tied !== false;
    return {
      model_type: type,
      architectures: [`${title}ForCausalLM`],
      vocab_size: shapes.vocabulary,
      hidden_size: shapes.width,
      intermediate_size: shapes.innerWidth,
      num_hidden_layers: shapes.layers,
      num_attention_heads: heads,
      num_key_value_heads: shapes.keys / headSize,
      head_dim: headSize,
      hidden_act: "silu",
      max_position_embeddings: hyper.positions ?? known.positions,
      rms_norm_eps: hyper.epsilon ?? known.epsilon,
      rope_parameters: {
        ...scalingOf(hyper, known, ropeTheta),
        rope_theta: ropeTheta ?? hyper.theta ?? known.theta,
      },
      ...(biases.output === "attention_bias" && { attention_bias: bias("self_attn.q_proj") }),
      ...(biases.mlp === "mlp_bias" && { mlp_bias: bias("mlp.up_proj") }),
      ...known.fields,
      ...hyper.copied,
      tie_word_embeddings: isTied,
      ...(hyper.begin !== undefined && { bos_token_id: hyper.begin }),
      eos_token_id: hyper.ends ?? null,
    };
  },

  assumed(checkpoint, { ropeTheta }) {
    const shapes = shapesOf(checkpoint);
    const known = settingsOf(checkpoint, shapes);
    const { name, theta, scaling, epsilon, positions, type, fields = {} } = known;
    const hyper = hyperOf(checkpoint.rest);
    const hasHead = checkpoint.tensors.has(`${HEAD}.weight`);
    const isThetaKnown = (ropeTheta ?? hyper.theta) !== undefined;
    const isScalingAssumed = scaling !== undefined && hyper.theta === undefined && hyper.scaling === undefined;
    return {
      like: name,
      settings: {
        ...(type !== shapes.family && type !== hyper.type && { model_type: type }),
        ...(!isThetaKnown && { rope_theta: theta }),
        ...(isScalingAssumed && { rope_type: scalingOf(hyper, known, ropeTheta).rope_type }),
        ...(hyper.epsilon === undefined && { rms_norm_eps: epsilon }),
        ...(hyper.positions === undefined && { max_position_embeddings: positions }),
        ...Object.fromEntries(Object.entries(fields).filter(([field]) => !Object.hasOwn(hyper.copied, field))),
        // Without a head, the weights can be those of a tied model, or of the body of one that has a head of its own.
        ...(!hasHead && hyper.tied === undefined && { tie_word_embeddings: true }),
      },
    };
  },
};

type TokenIds = number | number[];

const isToken = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const areTokens = (value: unknown): value is TokenIds => value != null && EndOfText.safeParse(value).success;

const isNumber = (value: unknown): value is number => typeof value === "number" && value > 0;

const isAny = (_: Json): _ is Json => true;

/** Fields of config.json that change the computation but no tensor. They are copied if they are beside the tensors. */
const COPIED = [
  ...["hidden_act", "partial_rotary_factor", "sliding_window", "use_sliding_window", "max_window_layers"],
  ...["layer_types", "no_rope_layers", "no_rope_layer_interval"],
];

/** The settings among the hyper-parameters beside the tensors. */
function hyperOf({ hyper_parameters: hyper = {} }: WeightsFile["rest"]) {
  return {
    copied: copiedFrom(hyper),
    scaling: findSetting(hyper, ["rope_scaling", "rope_parameters"], isScaling),
    type: findSetting(hyper, ["model_type"], isText),
    positions: findSetting(hyper, ["max_position_embeddings"], isCount),
    epsilon: findSetting(hyper, ["rms_norm_eps"], isNumber),
    tied: findSetting(hyper, ["tie_word_embeddings"], isBoolean),
    begin: findSetting(hyper, ["bos_token_id"], isToken),
    ends: findSetting(hyper, ["eos_token_id"], areTokens),
    theta:
      findSetting(findSetting(hyper, ["rope_parameters"], isRecord), ["rope_theta"], isNumber) ??
      findSetting(hyper, ["rope_theta"], isNumber),
  };
}

type Hyper = ReturnType<typeof hyperOf>;

function copiedFrom(hyper: Settings): Readonly<Record<string, Json>> {
  const found = COPIED.map((name) => [name, findSetting(hyper, [name], isAny)] as const);
  return Object.fromEntries(found.filter((field): field is [string, Json] => field[1] !== undefined));
}

/** Settings of rotary positions that name a kind of scaling. Older versions of transformers call it `type`. */
const isScaling = (value: Json): value is { [key: string]: Json } =>
  isRecord(value) && (value.rope_type ?? value.type) != null;

/** `rope_parameters` without the base. A published model's scaling is assumed only together with its base. */
function scalingOf(
  { scaling, theta }: Hyper,
  known: LlamaSettings,
  ropeTheta: number | undefined,
): Readonly<Record<string, unknown>> {
  const assumed = (ropeTheta ?? theta) === undefined ? known.scaling : undefined;
  return scaling ?? assumed ?? { rope_type: "default" };
}

function shapesOf(checkpoint: WeightsFile): LlamaShapes {
  const side = (name: string, axis: number): number => sideOf(checkpoint, BODY + name, axis);
  return {
    family: familyOf(checkpoint.tensors),
    vocabulary: side("embed_tokens.weight", 0),
    width: side("embed_tokens.weight", 1),
    innerWidth: side("layers.0.mlp.up_proj.weight", 0),
    layers: countNumbered(checkpoint, /^model\.layers\.(\d+)\./),
    queries: side("layers.0.self_attn.q_proj.weight", 0),
    keys: side("layers.0.self_attn.k_proj.weight", 0),
  };
}

/** The settings of the published model with these shapes, else the usual ones of the family. */
function settingsOf({ rest }: WeightsFile, shapes: LlamaShapes): LlamaSettings & Partial<Pick<KnownLlama, "name">> {
  const found = knownLlama(shapes) ?? usualLlama(shapes);
  const { type } = hyperOf(rest);
  return type !== undefined && Object.hasOwn(FAMILIES, type) ? { ...found, type } : found;
}

/** Normalizations of heads have a gain for each component. Else a published model with these shapes decides. */
function headsOf(checkpoint: WeightsFile): FoundHeads | undefined {
  const shapes = shapesOf(checkpoint);
  const normed = checkpoint.tensors.get(NORMED)?.shape[0];
  const headSize = normed ?? settingsOf(checkpoint, shapes).headSize;
  return headSize ? { count: shapes.queries / headSize, headSize, isDetermined: normed !== undefined } : undefined;
}

/** Qwen3 normalizes heads; Qwen2 has biases of queries, keys and values, but not of attention's output. */
function familyOf(tensors: ReadonlyMap<string, TensorInfo>): "llama" | "qwen2" | "qwen3" {
  if (tensors.has(NORMED)) return "qwen3";
  const [queries, output] = ["q_proj", "o_proj"].map((part) => tensors.has(`${FIRST}self_attn.${part}.bias`));
  return queries && !output ? "qwen2" : "llama";
}
