// Reads and checks timm's config.json of a vision transformer, or Hugging Face's ViTConfig. Settings that are not
// supported are refused by name.

import { z } from "zod";
import { ModelError } from "../../../hub/model-folder/index.ts";
import {
  blockCount,
  chance,
  checked,
  classCount,
  count,
  isTimm,
  readTimmConfig,
  refuseOthers,
} from "../parts/config-fields.ts";

/** The settings of a vision transformer that its computation needs. */
export interface VitConfig {
  blocks: number;
  /** n, width of the residual stream */
  width: number;
  heads: number;
  /** width of each MLP's hidden layer */
  innerWidth: number;
  /** rows and columns of the image */
  image: number;
  /** rows and columns of a patch */
  patch: number;
  /** channels of the image */
  colors: number;
  classes: number;
  /** ε of the layer normalizations */
  epsilon: number;
  activation: "gelu" | "gelu_tanh";
  /** whether queries, keys and values have a bias */
  attentionBias: boolean;
  /** whether a class token precedes the patches */
  classToken: boolean;
  /** whether the class token has a position embedding */
  classPosition: boolean;
  /** input of the head: the class token, or the mean over patches */
  pooling: "token" | "average";
  /** name of the final normalization: `norm` is applied before pooling, `fc_norm` after it */
  finalNorm: "norm" | "fc_norm";
  /** width of the layer with tanh before the head; undefined if there is none */
  representation: number | undefined;
  /** initial gain of each residual branch (LayerScale, Touvron et al. 2021); undefined if there are no gains */
  layerScale: number | undefined;
  /** standard deviation of initial weights */
  deviation: number;
  /**
   * dropout rates in training, of embeddings, of the outputs of attention and MLP, of the MLP's hidden layer, of
   * attention weights, and of the head's input
   */
  dropout: { embedding: number; residual: number; middle: number; attention: number; head: number };
  /**
   * probability, in training, that a residual branch of the last block is skipped for an image; it rises linearly from
   * 0 over the blocks
   */
  dropPath: number;
  /** naming of the checkpoint */
  naming: "timm" | "transformers";
}

const SIZES: Readonly<Record<string, { width: number; blocks: number; heads: number }>> = {
  tiny: { width: 192, blocks: 12, heads: 3 },
  small: { width: 384, blocks: 12, heads: 6 },
  base: { width: 768, blocks: 12, heads: 12 },
  large: { width: 1024, blocks: 24, heads: 16 },
};

const NAME = /^(vit|deit|deit3)_(tiny|small|base|large)_patch(\d+)(?:_(\d+))?$/;

/** Whether this is timm's name of a vision transformer without variations, for any patch and image size. */
export const isVitName = (name: string): boolean => NAME.test(name.replace(/\..*$/, ""));

const rate = chance(0);

const TIMM = z.object({
  img_size: z.union([count, z.tuple([count, count])]).nullish(),
  patch_size: z.union([count, z.tuple([count, count])]).nullish(),
  in_chans: count.nullish(),
  embed_dim: count.nullish(),
  depth: blockCount.nullish(),
  num_heads: count.nullish(),
  mlp_ratio: z.number().positive().default(4),
  qkv_bias: z.boolean().default(true),
  init_values: z.number().nullish(),
  class_token: z.boolean().default(true),
  no_embed_class: z.boolean().default(false),
  global_pool: z.enum(["token", "avg"]).default("token"),
  fc_norm: z.boolean().nullish(),
  representation_size: count.nullish(),
  drop_rate: rate,
  pos_drop_rate: rate,
  proj_drop_rate: rate,
  attn_drop_rate: rate,
  drop_path_rate: rate,
});

const TRANSFORMERS = z.object({
  hidden_size: count.default(768),
  num_hidden_layers: blockCount.default(12),
  num_attention_heads: count.default(12),
  intermediate_size: count.default(3072),
  hidden_act: z.enum(["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast"]).default("gelu"),
  hidden_dropout_prob: rate,
  attention_probs_dropout_prob: rate,
  initializer_range: z.number().positive().default(0.02),
  layer_norm_eps: z.number().positive().default(1e-12),
  image_size: z.union([count, z.tuple([count, count])]).default(224),
  patch_size: z.union([count, z.tuple([count, count])]).default(16),
  num_channels: count.default(3),
  qkv_bias: z.boolean().default(true),
});

/**
 * Reads and checks the config.json of a vision transformer.
 * @throws ModelError such as `vit/config.json: heads must divide the width 768, got 10`
 */
export function readVitConfig(json: Record<string, unknown>, file: string): VitConfig {
  const config = isTimm(json) ? fromTimm(json, file) : fromTransformers(json, file);
  const { width, heads, image, patch, classToken, pooling } = config;
  const refuse = (problem: string) => {
    throw new ModelError(problem, { file });
  };
  if (width % heads !== 0) refuse(`heads must divide the width ${width}, got ${heads}`);
  if (patch > image) refuse(`a patch of ${patch} must fit into the image, of ${image}`);
  if (pooling === "token" && !classToken) refuse("global_pool token needs a class token, class_token is false");
  return config;
}

function fromTimm(json: Record<string, unknown>, file: string): VitConfig {
  const { name, classes, colors, image, model } = readTimmConfig(json, file);
  const found = NAME.exec(name);
  if (!found) throw new ModelError(`architecture "${name}" is no plain vision transformer of timm's`, { file });
  const defaults = { pre_norm: false, qk_norm: false, num_classes: classes, reg_tokens: 0, dynamic_img_size: false };
  refuseOthers(model, { known: Object.keys(TIMM.shape), defaults, file });
  // timm's constructor of DeiT III (Touvron et al. 2022) sets these, so config.json does not contain them.
  const made = found[1] === "deit3" ? { no_embed_class: true, init_values: 1e-6 } : {};
  const fields = checked(TIMM, { ...made, ...model }, file, "model_args.");
  const known = SIZES[found[2] as string] as (typeof SIZES)[string];
  const width = fields.embed_dim ?? known.width;
  const average = fields.global_pool === "avg";
  return {
    blocks: fields.depth ?? known.blocks,
    width,
    heads: fields.num_heads ?? known.heads,
    innerWidth: Math.floor(width * fields.mlp_ratio),
    image: square(fields.img_size, "img_size", file) ?? image ?? Number(found[4] ?? 224),
    patch: square(fields.patch_size, "patch_size", file) ?? Number(found[3]),
    colors: fields.in_chans ?? colors,
    classes,
    epsilon: 1e-6,
    activation: "gelu",
    attentionBias: fields.qkv_bias,
    classToken: fields.class_token,
    classPosition: fields.class_token && !fields.no_embed_class,
    pooling: average ? "average" : "token",
    finalNorm: (fields.fc_norm ?? average) ? "fc_norm" : "norm",
    representation: fields.representation_size ?? undefined,
    layerScale: fields.init_values ?? undefined,
    deviation: 0.02,
    dropout: {
      embedding: fields.pos_drop_rate,
      residual: fields.proj_drop_rate,
      middle: fields.proj_drop_rate,
      attention: fields.attn_drop_rate,
      head: fields.drop_rate,
    },
    dropPath: fields.drop_path_rate,
    naming: "timm",
  };
}

function fromTransformers(json: Record<string, unknown>, file: string): VitConfig {
  const fields = checked(TRANSFORMERS, json, file);
  return {
    blocks: fields.num_hidden_layers,
    width: fields.hidden_size,
    heads: fields.num_attention_heads,
    innerWidth: fields.intermediate_size,
    image: square(fields.image_size, "image_size", file) as number,
    patch: square(fields.patch_size, "patch_size", file) as number,
    colors: fields.num_channels,
    classes: classCount(json),
    epsilon: fields.layer_norm_eps,
    activation: fields.hidden_act === "gelu" ? "gelu" : "gelu_tanh",
    attentionBias: fields.qkv_bias,
    classToken: true,
    classPosition: true,
    pooling: "token",
    finalNorm: "norm",
    representation: undefined,
    layerScale: undefined,
    deviation: fields.initializer_range,
    dropout: {
      embedding: fields.hidden_dropout_prob,
      residual: fields.hidden_dropout_prob,
      middle: 0,
      attention: fields.attention_probs_dropout_prob,
      head: 0,
    },
    dropPath: 0,
    naming: "transformers",
  };
}

function square(side: number | [number, number] | null | undefined, field: string, file: string): number | undefined {
  const [rows, columns] = typeof side === "number" ? [side, side] : (side ?? []);
  if (rows !== columns) {
    throw new ModelError(`${field} is ${rows} × ${columns}: images and patches must be square`, { file });
  }
  return rows;
}
