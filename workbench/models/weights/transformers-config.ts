// config.json and preprocessor_config.json in Hugging Face's manner, for weights that have its names: what a config.json
// of timm's says of the same shapes, in its words and with its defaults.

import type { ImageSettings } from "../../architectures/parts/image-terms.ts";
import type { ResnetConfig } from "../../architectures/resnet/config.ts";
import type { VitConfig } from "../../architectures/vit/config.ts";

type Fields = Record<string, unknown>;

export function vitForTransformers(config: VitConfig): Fields {
  return {
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
    ...labels(config.classes),
  };
}

export function resnetForTransformers({ stages, colors, classes }: ResnetConfig, stem: number): Fields {
  return {
    model_type: "resnet",
    architectures: ["ResNetForImageClassification"],
    embedding_size: stem,
    hidden_sizes: stages.map(({ width }) => width),
    depths: stages.map(({ blocks }) => blocks),
    layer_type: "basic",
    hidden_act: "relu",
    downsample_in_first_stage: false,
    num_channels: colors,
    ...labels(classes),
  };
}

/** Placeholders: the number of classes is known, their names are not. */
function labels(classes: number): Fields {
  const names = Array.from({ length: classes }, (_, i) => `LABEL_${i}`);
  return {
    id2label: Object.fromEntries(names.map((name, i) => [i, name])),
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
  };
}

type Colors = Pick<ImageSettings, "size" | "mean" | "std">;

const RESAMPLE = { bilinear: 2, bicubic: 3 };

/** As the published checkpoints of google/vit and microsoft/resnet have it. */
export function processorFor(type: "vit" | "resnet", { size, mean, std }: Colors): Fields {
  const own =
    type === "vit"
      ? { image_processor_type: "ViTImageProcessor", size: { height: size, width: size }, resample: RESAMPLE.bilinear }
      : {
          image_processor_type: "ConvNextImageProcessor",
          size: { shortest_edge: size },
          crop_pct: 0.875,
          resample: RESAMPLE.bicubic,
        };
  return { do_resize: true, do_normalize: true, ...own, image_mean: mean, image_std: std };
}
