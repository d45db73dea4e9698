// Reads and checks timm's config.json of an MLP-Mixer, and makes one from tensor shapes for weights that have none.
// Settings that are not supported are refused by name.

import { z } from "zod";
import { ModelError } from "../../../hub/model-folder/index.ts";
import type { WeightsReader } from "../architecture.ts";
import { countNumbered, ratioOf, sideOf } from "../parts/checkpoint.ts";
import { blockCount, chance, checked, count, isTimm, readTimmConfig, refuseOthers } from "../parts/config-fields.ts";

/** The settings of an MLP-Mixer that its computation needs. */
export interface MixerConfig {
  blocks: number;
  /** n, number of channels of each patch */
  width: number;
  /** width of the hidden layer of the MLPs across patches */
  tokenWidth: number;
  /** width of the hidden layer of the MLPs across channels */
  channelWidth: number;
  /** rows and columns of the image */
  image: number;
  /** rows and columns of a patch */
  patch: number;
  /** channels of the image */
  colors: number;
  classes: number;
  /** ε of the layer normalizations */
  epsilon: number;
  /** dropout rates in training, of the hidden layers and outputs of MLPs, and of the head's input */
  dropout: { mlp: number; head: number };
  /** probability, in training, that one MLP of a block is skipped for an image; the same for all blocks */
  dropPath: number;
}

const SIZES: Readonly<Record<string, { width: number; blocks: number }>> = {
  s: { width: 512, blocks: 8 },
  b: { width: 768, blocks: 12 },
  l: { width: 1024, blocks: 24 },
};

const NAME = /^mixer_([sbl])(\d+)(?:_(\d+))?$/;

/** Whether this is timm's name of an MLP-Mixer without variations, for any patch and image size. */
export const isMixerName = (name: string): boolean => NAME.test(name.replace(/\..*$/, ""));

const rate = chance(0);
const ratio = z.number().positive();

const FIELDS = z.object({
  img_size: count.nullish(),
  patch_size: count.nullish(),
  in_chans: count.nullish(),
  embed_dim: count.nullish(),
  num_blocks: blockCount.nullish(),
  mlp_ratio: z.tuple([ratio, ratio]).default([0.5, 4]),
  drop_rate: rate,
  proj_drop_rate: rate,
  drop_path_rate: rate,
});

/**
 * Reads and checks the config.json of an MLP-Mixer.
 * @throws ModelError such as `mixer/config.json: model_args.num_blocks is 0: …`
 */
export function readMixerConfig(json: Record<string, unknown>, file: string): MixerConfig {
  if (!isTimm(json))
    throw new ModelError('"architecture" is missing: an MLP-Mixer is known by its name in timm', { file });
  const { name, classes, colors, image: input, model } = readTimmConfig(json, file);
  const found = NAME.exec(name);
  if (!found) throw new ModelError(`architecture "${name}" is no plain MLP-Mixer of timm's`, { file });
  refuseOthers(model, {
    known: Object.keys(FIELDS.shape),
    defaults: { global_pool: "avg", num_classes: classes },
    file,
  });
  const fields = checked(FIELDS, model, file, "model_args.");
  const known = SIZES[found[1] as string] as (typeof SIZES)[string];
  const width = fields.embed_dim ?? known.width;
  const image = fields.img_size ?? input ?? Number(found[3] ?? 224);
  const patch = fields.patch_size ?? Number(found[2]);
  if (patch > image) throw new ModelError(`a patch of ${patch} must fit into the image, of ${image}`, { file });
  const [tokenRatio, channelRatio] = fields.mlp_ratio;
  return {
    blocks: fields.num_blocks ?? known.blocks,
    width,
    // As in timm, both ratios are relative to the model's width, including that of the MLP across patches.
    tokenWidth: Math.floor(tokenRatio * width),
    channelWidth: Math.floor(channelRatio * width),
    image,
    patch,
    colors: fields.in_chans ?? colors,
    classes,
    epsilon: 1e-6,
    dropout: { mlp: fields.proj_drop_rate, head: fields.drop_rate },
    dropPath: fields.drop_path_rate,
  };
}

/** Recognizes and describes MLP-Mixer weights without config.json. */
export const mixerWeights: WeightsReader<MixerConfig> = {
  head: "head",
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
    const blocks = countNumbered(checkpoint, /^blocks\.(\d+)\./);
    const ratios = [tokenWidth, side("blocks.0.mlp_channels.fc1.bias", 0)].map((inner) => ratioOf(inner, width));
    const usual = ratios[0] === 0.5 && ratios[1] === 4;
    const size = Object.keys(SIZES).find((s) => usual && SIZES[s]?.width === width && SIZES[s]?.blocks === blocks);
    return {
      // timm refuses fields of model_args that its name already sets. If the sizes have a name, only the name is
      // written.
      ...(size
        ? {
            architecture: `mixer_${size}${patch}_224`,
            num_classes: classes,
            model_args: { img_size: image, in_chans: colors },
          }
        : {
            architecture: `mixer_b${patch}_${image}`,
            num_classes: classes,
            model_args: {
              img_size: image,
              patch_size: patch,
              in_chans: colors,
              embed_dim: width,
              num_blocks: blocks,
              mlp_ratio: ratios,
            },
          }),
      pretrained_cfg: { input_size: [colors, image, image], num_classes: classes },
    };
  },
};
