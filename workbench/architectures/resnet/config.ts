// Reads and checks timm's config.json of a ResNet, or Hugging Face's ResNetConfig. Settings that are not supported,
// such as bottleneck blocks, are refused by name.

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

/** The settings of a ResNet that its computation needs. */
export interface ResnetConfig {
  /** output channels of the first convolution */
  stem: number;
  /** number of blocks and of channels of each stage; all stages except the first halve the image */
  stages: readonly { blocks: number; width: number }[];
  /** channels of the image */
  colors: number;
  /** rows and columns of the image for which multiply-adds are counted; the network takes images of any size */
  image: number;
  classes: number;
  /** dropout rate, in training, of the head's input */
  dropout: number;
  /** probability, in training, that the last block is skipped for an image; rises linearly from 0 over blocks */
  dropPath: number;
  /** whether the gain of each block's last normalization is 0 initially, which makes each residual branch 0 */
  zeroStart: boolean;
  /** naming of the checkpoint */
  naming: "timm" | "transformers";
}

const DEPTHS: ReadonlyMap<string, readonly number[]> = new Map([
  ["resnet18", [2, 2, 2, 2]],
  ["resnet34", [3, 4, 6, 3]],
]);

/** Whether this is timm's name of a ResNet with basic blocks. */
export const isResnetName = (name: string): boolean => DEPTHS.has(name.replace(/\..*$/, ""));

const rate = chance(0);

const TIMM = z.object({
  layers: z.array(blockCount).min(1).nullish(),
  channels: z.array(count).min(1).default([64, 128, 256, 512]),
  in_chans: count.nullish(),
  drop_rate: rate,
  drop_path_rate: rate,
  zero_init_last: z.boolean().default(true),
});

const TRANSFORMERS = z.object({
  num_channels: count.default(3),
  embedding_size: count.default(64),
  hidden_sizes: z.array(count).min(1),
  depths: z.array(blockCount).min(1),
  layer_type: z.literal("basic"),
  hidden_act: z.literal("relu").default("relu"),
  downsample_in_first_stage: z.literal(false).default(false),
});

/**
 * Reads and checks the config.json of a ResNet.
 * @throws ModelError such as `resnet/config.json: layer_type is "bottleneck": expected "basic"`
 */
export function readResnetConfig(json: Record<string, unknown>, file: string): ResnetConfig {
  return isTimm(json) ? fromTimm(json, file) : fromTransformers(json, file);
}

function fromTimm(json: Record<string, unknown>, file: string): ResnetConfig {
  const { name, classes, colors, image, model } = readTimmConfig(json, file);
  const depths = DEPTHS.get(name);
  if (!depths) throw new ModelError(`architecture "${name}" is neither resnet18 nor resnet34`, { file });
  const defaults = { global_pool: "avg", num_classes: classes, stem_type: "", output_stride: 32 };
  refuseOthers(model, { known: Object.keys(TIMM.shape), defaults, file });
  const fields = checked(TIMM, model, file, "model_args.");
  return {
    stem: 64,
    stages: stagesOf({ depths: fields.layers ?? depths, widths: fields.channels, file }),
    colors: fields.in_chans ?? colors,
    image: image ?? 224,
    classes,
    dropout: fields.drop_rate,
    dropPath: fields.drop_path_rate,
    zeroStart: fields.zero_init_last,
    naming: "timm",
  };
}

function fromTransformers(json: Record<string, unknown>, file: string): ResnetConfig {
  const fields = checked(TRANSFORMERS, { layer_type: "bottleneck", ...json }, file);
  return {
    stem: fields.embedding_size,
    stages: stagesOf({ depths: fields.depths, widths: fields.hidden_sizes, file }),
    colors: fields.num_channels,
    image: typeof json.image_size === "number" ? json.image_size : 224,
    classes: classCount(json),
    dropout: 0,
    dropPath: 0,
    zeroStart: false,
    naming: "transformers",
  };
}

function stagesOf({ depths, widths, file }: { depths: readonly number[]; widths: readonly number[]; file: string }) {
  if (depths.length !== widths.length) {
    throw new ModelError(`there must be a depth for each width, got ${depths.length} and ${widths.length}`, { file });
  }
  return depths.map((blocks, i) => ({ blocks, width: widths[i] as number }));
}
