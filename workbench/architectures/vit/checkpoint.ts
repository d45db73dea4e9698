// The config.json of a vision transformer out of the reference implementation's checkpoint, as timm writes it: sizes from
// shapes. Its names are timm's of 2021, with queries, keys and values apart where they are GBLR.

import { ModelError } from "../../../hub/model-folder/index.ts";
import { usualHeads } from "../parts/heads.ts";
import { findSetting, isCount } from "../parts/hyper-parameters.ts";
import { preparation } from "../parts/reference-preparation.ts";
import { countNumbered, ratioOf, sideOf } from "../parts/tensor-shapes.ts";
import type { ReferenceCheckpoint, ReferenceReader } from "../reader.ts";

/** timm's names by width; of any other width it is `base` with a width of its own. */
const NAMES: Readonly<Record<number, string>> = { 192: "tiny", 384: "small", 1024: "large" };

export const vitReader: ReferenceReader = {
  type: "vit",
  // Trained from scratch with σ rising to 100; models that were tuned from dense ones say that theirs have none.
  gaussian: true,

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
      architecture: `vit_${NAMES[width] ?? "base"}_patch${patch}_${image}`,
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
        ...preparation(hyper, { interpolation: "bicubic", crop_pct: 0.9 }),
        input_size: [colors, image, image],
        num_classes: classes,
      },
    };
  },
};

/** The reference's own small models are 768 wide, with 8 blocks of 8 heads. */
const ownHeads = (width: number, blocks: number): number | undefined => (width === 768 && blocks === 8 ? 8 : undefined);

/** What gains start with in training from scratch, which no trained checkpoint tells. */
const LAYER_SCALE = 1e-5;

/**
 * Patches in a row, and whether the class token has a position beside theirs.
 * @throws ModelError when positions are not those of a square of patches
 */
function positionsOf(checkpoint: ReferenceCheckpoint): { grid: number; classPosition: boolean } {
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
