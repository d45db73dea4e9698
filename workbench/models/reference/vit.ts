// The config.json of a vision transformer out of the reference implementation's checkpoint, as timm writes it: sizes from
// shapes. Its names are timm's of 2021, with queries, keys and values apart where they are GBLR.

import { ModelError } from "../../../hub/model-folder/index.ts";
import { usualHeads } from "./heads.ts";
import { findSetting, isCount } from "./hyper-parameters.ts";
import { preparation } from "./preparation.ts";
import type { ReferenceCheckpoint, ReferenceReader } from "./reader.ts";
import { countNumbered, sideOf } from "./shapes.ts";

/** timm's names by width; of any other width it is `base` with a width of its own. */
const NAMES: Readonly<Record<number, string>> = { 192: "tiny", 384: "small", 1024: "large" };

export const vitReader: ReferenceReader = {
  type: "vit",
  // Trained from scratch with σ rising to 100; models that were tuned from dense ones say that theirs have none.
  gaussian: true,

  recognises: (tensors) => tensors.has("patch_embed.proj.weight") && tensors.has("blocks.0.norm1.weight"),

  config(checkpoint, { heads }) {
    const { file, tensors, rest } = checkpoint;
    const side = (name: string, axis: number): number => sideOf(checkpoint, name, axis);
    const [width, colours, patch] = [0, 1, 2].map((axis) => side("patch_embed.proj.weight", axis)) as [
      number,
      number,
      number,
    ];
    const blocks = countNumbered(checkpoint, /^blocks\.(\d+)\./);
    const image = patch * gridOf(checkpoint);
    const classes = side("head.bias", 0);
    const hyper = rest.hyper_parameters;
    const hasBias = [...tensors.keys()].some((name) => /\.attn\.(q_proj|k_proj|v_proj|qkv)\.bias$/.test(name));
    const representation = tensors.get("pre_logits.fc.bias")?.shape[0];
    return {
      architecture: `vit_${NAMES[width] ?? "base"}_patch${patch}_${image}`,
      num_classes: classes,
      global_pool: "token",
      model_args: {
        img_size: image,
        patch_size: patch,
        in_chans: colours,
        embed_dim: width,
        depth: blocks,
        num_heads:
          heads ?? findSetting(hyper, ["num_heads"], isCount) ?? ownHeads(width, blocks) ?? usualHeads(width, file),
        mlp_ratio: ratioOf(side("blocks.0.mlp.fc1.bias", 0), width),
        qkv_bias: hasBias,
        ...(representation !== undefined && { representation_size: representation }),
      },
      pretrained_cfg: {
        ...preparation(hyper, { interpolation: "bicubic", crop_pct: 0.9 }),
        input_size: [colours, image, image],
        num_classes: classes,
      },
    };
  },
};

/** The reference's own small models are 768 wide, with 8 blocks of 8 heads. */
const ownHeads = (width: number, blocks: number): number | undefined => (width === 768 && blocks === 8 ? 8 : undefined);

/** Patches in a row. @throws ModelError when positions are not those of a square and a class token */
function gridOf(checkpoint: ReferenceCheckpoint): number {
  const positions = sideOf(checkpoint, "pos_embed", 1);
  const grid = Math.round(Math.sqrt(positions - 1));
  if (grid >= 1 && grid * grid === positions - 1) return grid;
  const problem = `has ${positions} positions, which are not those of a square of patches and a class token`;
  throw new ModelError(problem, { file: checkpoint.file, tensor: "pos_embed" });
}

/** What timm multiplies the width by and rounds down. */
function ratioOf(inner: number, width: number): number {
  const ratio = inner / width;
  return Math.floor(ratio * width) === inner ? ratio : (inner + 0.5) / width;
}
