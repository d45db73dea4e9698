// The config.json of an MLP-Mixer out of the shapes of its tensors, as timm writes it.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { WeightsReader } from "../architecture.ts";
import { countNumbered, ratioOf, sideOf } from "../parts/checkpoint.ts";
import type { MixerConfig } from "./config.ts";

export const mixerWeights: WeightsReader<MixerConfig> = {
  recognizes: (tensors) => tensors.has("stem.proj.weight") && tensors.has("blocks.0.mlp_tokens.fc1.weight"),

  config(checkpoint) {
    const side = (name: string, axis: number): number => sideOf(checkpoint, name, axis);
    const [width, colors, patch] = [0, 1, 2].map((axis) => side("stem.proj.weight", axis)) as [number, number, number];
    const [tokenWidth, patches] = [0, 1].map((axis) => side("blocks.0.mlp_tokens.fc1.weight", axis)) as [
      number,
      number,
    ];
    const grid = Math.round(Math.sqrt(patches));
    if (grid * grid !== patches) {
      const place = { file: checkpoint.file, tensor: "blocks.0.mlp_tokens.fc1.weight" };
      throw new ModelError(`has ${patches} patches, which are not those of a square`, place);
    }
    const image = patch * grid;
    const classes = side("head.bias", 0);
    return {
      architecture: `mixer_b${patch}_${image}`,
      num_classes: classes,
      model_args: {
        img_size: image,
        patch_size: patch,
        in_chans: colors,
        embed_dim: width,
        num_blocks: countNumbered(checkpoint, /^blocks\.(\d+)\./),
        mlp_ratio: [tokenWidth, side("blocks.0.mlp_channels.fc1.bias", 0)].map((inner) => ratioOf(inner, width)),
      },
      pretrained_cfg: { input_size: [colors, image, image], num_classes: classes },
    };
  },
};
