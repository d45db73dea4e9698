// What an MLP-Mixer is, read from a config.json of timm's. What cannot be computed here is refused by name.

import { z } from "zod";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { blockCount, chance, checked, count } from "../parts/config-fields.ts";
import { isTimm, readTimmConfig, refuseOthers } from "../parts/timm-config.ts";

export interface MixerConfig {
  blocks: number;
  /** n, channels of each patch */
  width: number;
  /** of the layer in the middle of the MLPs across patches, and of those across channels */
  tokenWidth: number;
  channelWidth: number;
  /** rows and columns of the image */
  image: number;
  /** rows and columns of a patch */
  patch: number;
  /** of the image */
  colors: number;
  classes: number;
  /** of the layer normalizations */
  epsilon: number;
  /** chances, in training: of entries within MLPs and of their outputs, of what goes to the head */
  dropout: { mlp: number; head: number };
  /** chance, in training, that half a block is skipped for an image; the same for all */
  dropPath: number;
}

const SIZES: Readonly<Record<string, { width: number; blocks: number }>> = {
  s: { width: 512, blocks: 8 },
  b: { width: 768, blocks: 12 },
  l: { width: 1024, blocks: 24 },
};

const NAME = /^mixer_([sbl])(\d+)(?:_(\d+))?$/;

/** timm's name of a plain MLP-Mixer, of whatever patch and image. */
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

/** @throws ModelError such as `mixer/config.json: model_args.num_blocks is 0: …` */
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
    // Both by the width of the model, also the one across patches.
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
