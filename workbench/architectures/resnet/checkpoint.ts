// Makes a config.json for ResNet weights that have none, in timm's or Hugging Face's format, from tensor shapes. The
// reference implementation uses torchvision's names, except for the GBLR matrices of a convolution X. They are
// `X.gaudi_module`, one matrix for the whole kernel, or `X.gaudi_modules.0`, `.1`, …, one matrix per position of the
// kernel, row by row.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { ReferenceModels, WeightsFile, WeightsReader } from "../architecture.ts";
import { countNumbered, findSetting, isBoolean, isCount, referencePreparation, sideOf } from "../parts/checkpoint.ts";
import { placeholderLabels } from "../parts/config-fields.ts";
import { BASIC, BOTTLENECK, NAMED_RESNETS, USUAL_CHANNELS } from "./blocks.ts";
import type { ResnetConfig } from "./config.ts";

const OF_ALL = /^(layer\d+\.\d+\.conv\d+)\.gaudi_module(?=\.)/;
const OF_EACH = /^(layer\d+\.\d+\.conv\d+)\.gaudi_modules\.(\d+)(?=\.)/;
const OURS_OF_ALL = /^(layer\d+\.\d+\.conv\d+)\.(?=(?:lr_weight[12]|widths|locations|sigma|freq_in|freq_out)$)/;
const OURS_OF_EACH = /^(layer\d+\.\d+\.conv\d+)\.(\d+)(?=\.|$)/;

/** Names and further tensors of the reference's ResNet checkpoints. */
export const resnetReference: ReferenceModels<ResnetConfig> = {
  gaussian: false,
  names: {
    toOurs: (name) => name.replace(OF_ALL, "$1").replace(OF_EACH, "$1.$2"),
    toTheirs: (name) => name.replace(OURS_OF_EACH, "$1.gaudi_modules.$2").replace(OURS_OF_ALL, "$1.gaudi_module."),
  },
  // PyTorch requires the number of batches of each normalization in a checkpoint, but does not use it for these models.
  others: async (_, parameters) =>
    [...parameters.keys()]
      .filter((name) => name.endsWith(".running_var"))
      .map((name) => ({
        name: name.replace(/running_var$/, "num_batches_tracked"),
        dtype: "I64",
        shape: [],
        data: BigInt64Array.of(0n),
      })),
};

/** Recognizes and describes ResNet weights without config.json. */
export const resnetWeights: WeightsReader<ResnetConfig> = {
  head: "fc",
  recognizes: (tensors) => tensors.has("bn1.running_mean") && tensors.has("layer1.0.bn1.running_mean"),

  config(checkpoint) {
    const hyper = checkpoint.rest.hyper_parameters;
    const stages = Array.from({ length: countNumbered(checkpoint, /^layer(\d+)\./) }, (_, i) => `layer${i + 1}`);
    const layers = stages.map((stage) => countNumbered(checkpoint, new RegExp(`^${stage}\\.(\\d+)\\.`)));
    const block = checkpoint.tensors.has("layer1.0.bn3.running_mean") ? BOTTLENECK : BASIC;
    const channels = stages.map((stage) => sideOf(checkpoint, `${stage}.0.bn2.running_mean`, 0));
    expectPlain(checkpoint, stages);
    const classes = sideOf(checkpoint, "fc.bias", 0);
    const image = findSetting(hyper, ["image_size"], isCount) ?? 224;
    const ofKind = [...NAMED_RESNETS].filter(([, named]) => named.block === block);
    const name = ofKind.find(([, { depths }]) => String(depths) === String(layers))?.[0];
    expectMasksOfTheirOwn(checkpoint);
    return {
      architecture: name ?? ofKind[0]?.[0],
      num_classes: classes,
      model_args: {
        ...(name === undefined && { layers }),
        ...(String(channels) !== String(USUAL_CHANNELS) && { channels }),
      },
      pretrained_cfg: {
        ...referencePreparation(hyper, { interpolation: "bilinear", crop_pct: 0.875 }),
        input_size: [sideOf(checkpoint, "conv1.weight", 1), image, image],
        num_classes: classes,
      },
    };
  },

  forTransformers: ({ block, stages, colors, classes }, weights, { size, mean, std }) => ({
    config: {
      model_type: "resnet",
      architectures: ["ResNetForImageClassification"],
      embedding_size: sideOf(weights, "conv1.weight", 0),
      hidden_sizes: stages.map(({ width }) => width),
      depths: stages.map(({ blocks }) => blocks),
      layer_type: block.name,
      hidden_act: "relu",
      downsample_in_first_stage: false,
      num_channels: colors,
      ...placeholderLabels(classes),
      image_size: size,
    },
    // As in the published checkpoints microsoft/resnet-*. The number 3 is bicubic.
    preprocessor: {
      ...{ do_resize: true, do_normalize: true, image_processor_type: "ConvNextImageProcessor" },
      ...{ size: { shortest_edge: size }, crop_pct: 0.875, resample: 3, image_mean: mean, image_std: std },
    },
  }),
};

/**
 * Refuses relatives of ResNet whose tensors have the same names: stems of three convolutions (ResNet-C and -D), wide
 * bottlenecks (Wide ResNet), and grouped convolutions (ResNeXt).
 * @throws ModelError that names the tensor
 */
function expectPlain(checkpoint: WeightsFile, stages: readonly string[]): void {
  const { tensors, file } = checkpoint;
  const refuse = (tensor: string, problem: string): never => {
    throw new ModelError(`${problem}; plain ResNets are supported: ${[...NAMED_RESNETS.keys()].join(", ")}`, {
      file,
      tensor,
    });
  };
  if (tensors.has("conv1.0.weight")) refuse("conv1.0.weight", "is a stem of several convolutions, as in ResNet-D");
  for (const stage of stages) {
    const inner = sideOf(checkpoint, `${stage}.0.bn2.running_mean`, 0);
    const width = tensors.get(`${stage}.0.bn3.running_mean`)?.shape[0];
    const kernel = tensors.get(`${stage}.0.conv2.weight`)?.shape ?? [];
    if (kernel.length === 4 && kernel[1] !== inner && width !== undefined) {
      refuse(`${stage}.0.conv2.weight`, `takes ${kernel[1]} of ${inner} channels in a group, as in ResNeXt`);
    }
    if (width !== undefined && width !== inner * BOTTLENECK.expansion) {
      refuse(`${stage}.0.bn3.running_mean`, `has ${width} channels after bottlenecks of ${inner}, as in a Wide ResNet`);
    }
  }
}

/**
 * Refuses `unified_mask` if the positions of a kernel are separate layers. With this setting the reference can use the
 * masks of the first position for all positions. Its trainer does not pass the setting on, so the checkpoint does not
 * tell which masks were used in training.
 */
function expectMasksOfTheirOwn({ rest, tensors, file }: WeightsFile): void {
  const unified = findSetting(rest.hyper_parameters, ["unified_mask"], isBoolean) ?? false;
  const isPerKernel = [...tensors.keys()].some((name) => OURS_OF_EACH.test(name));
  if (!unified || !isPerKernel) return;
  throw new ModelError("unified_mask is true: whether the positions of a kernel share their masks is not clear", {
    file,
  });
}
