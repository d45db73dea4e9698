// Tiny vision models for tests, made from a seed, with statistics and gains that are none of the plain ones they start
// with.

import * as tf from "@tensorflow/tfjs-core";
import { mixer } from "../../workbench/architectures/mixer/architecture.ts";
import { resnet } from "../../workbench/architectures/resnet/architecture.ts";
import { vit } from "../../workbench/architectures/vit/architecture.ts";
import { seededUniform } from "../../workbench/engine/core/random.ts";
import {
  classifierLogits,
  createModel,
  type MixerConfig,
  type Model,
  type ResnetConfig,
  type VitConfig,
} from "../../workbench/models/index.ts";
import { taken } from "../models/tiny.ts";

export const VIT = {
  architecture: "vit_tiny_patch4_16",
  num_classes: 5,
  model_args: { img_size: 16, embed_dim: 24, depth: 2, num_heads: 3 },
};

export const VIT_TRANSFORMERS = {
  model_type: "vit",
  hidden_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  intermediate_size: 48,
  image_size: 16,
  patch_size: 4,
  id2label: { 0: "a", 1: "b", 2: "c", 3: "d", 4: "e" },
};

export const RESNET = {
  architecture: "resnet18",
  num_classes: 5,
  model_args: { layers: [1, 1], channels: [8, 12] },
  pretrained_cfg: { input_size: [3, 24, 24] },
};

export const RESNET_TRANSFORMERS = {
  model_type: "resnet",
  layer_type: "basic",
  embedding_size: 8,
  hidden_sizes: [8, 12],
  depths: [1, 1],
  id2label: { 0: "a", 1: "b", 2: "c", 3: "d", 4: "e" },
};

export const RESNET_BOTTLENECKS = {
  architecture: "resnet50",
  num_classes: 5,
  model_args: { layers: [2, 1], channels: [4, 6] },
  pretrained_cfg: { input_size: [3, 24, 24] },
};

export const RESNET_TRANSFORMERS_BOTTLENECKS = {
  ...RESNET_TRANSFORMERS,
  layer_type: "bottleneck",
  hidden_sizes: [16, 24],
  downsample_in_bottleneck: true,
};

export const MIXER = {
  architecture: "mixer_s4_16",
  num_classes: 5,
  model_args: { img_size: 16, embed_dim: 24, num_blocks: 2 },
};

export const smallVit = (settings: object = VIT): Model<VitConfig> => lively(createModel(vit, { ...settings }));
export const smallResnet = (settings: object = RESNET): Model<ResnetConfig> =>
  lively(createModel(resnet, { ...settings }));
export const smallMixer = (settings: object = MIXER): Model<MixerConfig> => lively(createModel(mixer, { ...settings }));

/** Every parameter plus noise, variances staying positive: heads of zeros and gains of one hide mistakes. */
function lively<Config>(model: Model<Config>): Model<Config> {
  const uniform = seededUniform(3);
  for (const [name, variable] of model.parameters) {
    const noise = Float32Array.from(
      { length: variable.size },
      () => 0.4 * uniform() - (name.endsWith("_var") ? 0 : 0.2),
    );
    tf.tidy(() => variable.assign(tf.add(variable, tf.tensor(noise, variable.shape))));
  }
  return model;
}

/** The same on every engine. */
export function someImages(count: number, size: number): tf.Tensor4D {
  const uniform = seededUniform(11);
  const values = Float32Array.from({ length: count * size * size * 3 }, () => 2 * uniform() - 1);
  return tf.tensor4d(values, [count, size, size, 3]);
}

export const logitsOf = (model: Model, images: tf.Tensor4D): Promise<Float32Array> =>
  taken(tf.tidy(() => classifierLogits(model, images)));
