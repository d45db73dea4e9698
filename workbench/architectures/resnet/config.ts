// Reads and checks timm's config.json of a ResNet, or Hugging Face's ResNetConfig. Settings that are not supported,
// such as a stem of three convolutions, are refused by name.

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
import { BASIC, type BlockKind, BOTTLENECK, EARLY_BOTTLENECK, NAMED_RESNETS, USUAL_CHANNELS } from "./blocks.ts";

/** The settings of a ResNet that its computation needs. */
export interface ResnetConfig {
  /** output channels of the first convolution */
  stem: number;
  /** the kind of all blocks */
  block: BlockKind;
  /** all stages except the first halve the image */
  stages: readonly ResnetStage[];
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

/** A stage of a ResNet. */
interface ResnetStage {
  /** number of blocks */
  blocks: number;
  /** channels of the output of each block */
  width: number;
  /** channels between the convolutions of a block */
  inner: number;
}

/** Whether this is timm's name of a ResNet without variations. */
export const isResnetName = (name: string): boolean => NAMED_RESNETS.has(name.replace(/\..*$/, ""));

const rate = chance(0);

const TIMM = z.object({
  layers: z.array(blockCount).min(1).nullish(),
  channels: z
    .array(count)
    .min(1)
    .default([...USUAL_CHANNELS]),
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
  layer_type: z.enum(["basic", "bottleneck"]).default("bottleneck"),
  hidden_act: z.literal("relu").default("relu"),
  downsample_in_first_stage: z.literal(false).default(false),
  downsample_in_bottleneck: z.boolean().default(false),
});

/**
 * Reads and checks the config.json of a ResNet.
 * @throws ModelError such as `resnet/config.json: downsample_in_first_stage is true: …`
 */
export function readResnetConfig(json: Record<string, unknown>, file: string): ResnetConfig {
  return isTimm(json) ? fromTimm(json, file) : fromTransformers(json, file);
}

function fromTimm(json: Record<string, unknown>, file: string): ResnetConfig {
  const { name, classes, colors, image, model } = readTimmConfig(json, file);
  const known = NAMED_RESNETS.get(name);
  if (!known) {
    const names = [...NAMED_RESNETS.keys()].join(", ");
    throw new ModelError(`architecture "${name}" is not supported; the ResNets that are supported are ${names}`, {
      file,
    });
  }
  const { block, depths } = known;
  const defaults = { global_pool: "avg", num_classes: classes, stem_type: "", output_stride: 32 };
  refuseOthers(model, { known: Object.keys(TIMM.shape), defaults, file });
  const fields = checked(TIMM, model, file, "model_args.");
  return {
    stem: 64,
    block,
    stages: stagesOf({
      depths: fields.layers ?? depths,
      widths: fields.channels.map((inner) => ({ inner, width: inner * block.expansion })),
      file,
    }),
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
  const fields = checked(TRANSFORMERS, json, file);
  const block = KINDS[fields.layer_type](fields.downsample_in_bottleneck);
  const narrow = fields.hidden_sizes.find((width) => width < block.expansion);
  if (narrow !== undefined) {
    const problem = `hidden_sizes has ${narrow}: ${block.name} blocks have at least ${block.expansion} channels`;
    throw new ModelError(problem, { file });
  }
  return {
    stem: fields.embedding_size,
    block,
    stages: stagesOf({
      depths: fields.depths,
      widths: fields.hidden_sizes.map((width) => ({ width, inner: Math.floor(width / block.expansion) })),
      file,
    }),
    colors: fields.num_channels,
    image: typeof json.image_size === "number" ? json.image_size : 224,
    classes: classCount(json),
    dropout: 0,
    dropPath: 0,
    zeroStart: false,
    naming: "transformers",
  };
}

/** The blocks of Hugging Face's `layer_type`, by its setting of where bottlenecks halve the image. */
const KINDS = {
  basic: () => BASIC,
  bottleneck: (early: boolean) => (early ? EARLY_BOTTLENECK : BOTTLENECK),
};

interface StagesOptions {
  depths: readonly number[];
  widths: readonly Omit<ResnetStage, "blocks">[];
  file: string;
}

function stagesOf({ depths, widths, file }: StagesOptions): ResnetStage[] {
  if (depths.length !== widths.length) {
    throw new ModelError(`there must be a depth for each width, got ${depths.length} and ${widths.length}`, { file });
  }
  return widths.map((width, i) => ({ blocks: depths[i] as number, ...width }));
}
