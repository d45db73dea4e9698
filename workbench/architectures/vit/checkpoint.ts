// Makes a config.json for ViT weights that have none, in timm's or Hugging Face's format, from tensor shapes. Names are
// timm's; structured queries, keys and values are separate layers.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { WeightsFile, WeightsReader } from "../architecture.ts";
import {
  countNumbered,
  findSetting,
  isCount,
  ratioOf,
  referencePreparation,
  sideOf,
  usualHeads,
} from "../parts/checkpoint.ts";
import { placeholderLabels } from "../parts/config-fields.ts";
import type { VitConfig } from "./config.ts";

/** Sizes in timm's names, by width. Any other width is written as `base` with `embed_dim`. */
const NAMES: Readonly<Record<number, string>> = { 192: "tiny", 384: "small", 1024: "large" };

/** Patch sizes for which timm has names with the image size 224. Its other names have the image size 384. */
const NAMED_PATCHES = [8, 14, 16, 32];

const namedImage = (patch: number, image: number): number =>
  NAMED_PATCHES.includes(patch) && image !== 384 ? 224 : image;

/** Recognizes and describes ViT weights without config.json. */
export const vitWeights: WeightsReader<VitConfig> = {
  head: "head",
  width: ["patch_embed.proj.weight", 0],

  recognizes: (tensors) => tensors.has("patch_embed.proj.weight") && tensors.has("blocks.0.norm1.weight"),

  config(checkpoint, { heads }) {
    const { file, tensors, rest } = checkpoint;
    const side = (name: string, axis: number): number => sideOf(checkpoint, name, axis);
    const [width, colors, patch] = [0, 1, 2].map((axis) => side("patch_embed.proj.weight", axis)) as [
      number,
      number,
      number,
    ];
    const blocks = countNumbered(checkpoint, /^blocks\.(\d+)\./);
    const { grid, classPosition } = positionsOf(checkpoint);
    const image = patch * grid;
    const classToken = tensors.has("cls_token");
    const classes = side("head.bias", 0);
    const hyper = rest.hyper_parameters;
    const hasBias = [...tensors.keys()].some((name) => /\.attn\.(q_proj|k_proj|v_proj|qkv)\.bias$/.test(name));
    const representation = tensors.get("pre_logits.fc.bias")?.shape[0];
    return {
      architecture: `vit_${NAMES[width] ?? "base"}_patch${patch}_${namedImage(patch, image)}`,
      num_classes: classes,
      global_pool: tensors.has("fc_norm.weight") ? "avg" : "token",
      model_args: {
        img_size: image,
        patch_size: patch,
        in_chans: colors,
        embed_dim: width,
        depth: blocks,
        num_heads:
          heads ?? findSetting(hyper, ["num_heads"], isCount) ?? ownHeads(width, blocks) ?? usualHeads(width, file),
        mlp_ratio: ratioOf(side("blocks.0.mlp.fc1.bias", 0), width),
        qkv_bias: hasBias,
        ...(!classToken && { class_token: false }),
        ...(classToken && !classPosition && { no_embed_class: true }),
        ...(tensors.has("blocks.0.ls1.gamma") && { init_values: LAYER_SCALE }),
        ...(representation !== undefined && { representation_size: representation }),
      },
      pretrained_cfg: {
        ...referencePreparation(hyper, { interpolation: "bicubic", crop_pct: 0.9 }),
        input_size: [colors, image, image],
        num_classes: classes,
      },
    };
  },

  forTransformers: (config, _, { size, mean, std }) => ({
    config: {
      model_type: "vit",
      architectures: ["ViTForImageClassification"],
      hidden_size: config.width,
      num_hidden_layers: config.blocks,
      num_attention_heads: config.heads,
      intermediate_size: config.innerWidth,
      hidden_act: "gelu",
      layer_norm_eps: 1e-12,
      image_size: config.image,
      patch_size: config.patch,
      num_channels: config.colors,
      qkv_bias: config.attentionBias,
      ...placeholderLabels(config.classes),
    },
    // As in the published checkpoints google/vit-*. The number 2 is bilinear.
    preprocessor: {
      ...{ do_resize: true, do_normalize: true, image_processor_type: "ViTImageProcessor" },
      ...{ size: { height: size, width: size }, resample: 2, image_mean: mean, image_std: std },
    },
  }),
};

/** The number of heads of the reference's small models, which are 768 wide and have 8 blocks of 8 heads. */
const ownHeads = (width: number, blocks: number): number | undefined => (width === 768 && blocks === 8 ? 8 : undefined);

/** Initial value of layer scale's gains, which a trained checkpoint does not determine. */
const LAYER_SCALE = 1e-5;

/**
 * The number of patches in a row of the image, and whether the class token has a position of its own.
 * @throws ModelError if the number of positions is not that of a square of patches
 */
function positionsOf(checkpoint: WeightsFile): { grid: number; classPosition: boolean } {
  const positions = sideOf(checkpoint, "pos_embed", 1);
  const hasToken = checkpoint.tensors.has("cls_token");
  for (const classPosition of hasToken ? [true, false] : [false]) {
    const patches = positions - (classPosition ? 1 : 0);
    const grid = Math.round(Math.sqrt(patches));
    if (grid >= 1 && grid * grid === patches) return { grid, classPosition };
  }
  const token = hasToken ? " and a class token" : "";
  const problem = `has ${positions} positions, which are not those of a square of patches${token}`;
  throw new ModelError(problem, { file: checkpoint.file, tensor: "pos_embed" });
}
