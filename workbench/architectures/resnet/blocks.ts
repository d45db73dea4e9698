// The two kinds of blocks of residual networks (He et al. 2016, figure 5): basic blocks of two 3×3 convolutions, and
// bottlenecks, whose 3×3 convolution is between two 1×1 convolutions and has fewer channels.

/** One convolution of a block, followed by a batch normalization. The last one of a block has the block's width. */
export interface BlockConvolution {
  name: "conv1" | "conv2" | "conv3";
  /** rows and columns of its kernel */
  kernel: 1 | 3;
  /** whether it halves the image in the first block of a stage. Default false */
  halves?: boolean;
}

/** A kind of block. */
export interface BlockKind {
  /** its name in messages and in Hugging Face's config.json */
  name: "basic" | "bottleneck";
  convolutions: readonly BlockConvolution[];
  /** channels of the block's output per channel between its convolutions */
  expansion: number;
}

export const BASIC: BlockKind = {
  name: "basic",
  convolutions: [
    { name: "conv1", kernel: 3, halves: true },
    { name: "conv2", kernel: 3 },
  ],
  expansion: 1,
};

/** As in torchvision, timm and Hugging Face's default: the 3×3 convolution halves the image. */
export const BOTTLENECK: BlockKind = {
  name: "bottleneck",
  convolutions: [
    { name: "conv1", kernel: 1 },
    { name: "conv2", kernel: 3, halves: true },
    { name: "conv3", kernel: 1 },
  ],
  expansion: 4,
};

/** As in the paper, and in Hugging Face with `downsample_in_bottleneck`: the first 1×1 convolution halves the image. */
export const EARLY_BOTTLENECK: BlockKind = {
  ...BOTTLENECK,
  convolutions: [
    { name: "conv1", kernel: 1, halves: true },
    { name: "conv2", kernel: 3 },
    { name: "conv3", kernel: 1 },
  ],
};

/** A ResNet of timm and torchvision: its blocks, and how many each stage has. */
export interface NamedResnet {
  block: BlockKind;
  depths: readonly number[];
}

/** The networks that timm and torchvision have under these names, without variations. */
export const NAMED_RESNETS: ReadonlyMap<string, NamedResnet> = new Map([
  ["resnet18", { block: BASIC, depths: [2, 2, 2, 2] }],
  ["resnet34", { block: BASIC, depths: [3, 4, 6, 3] }],
  ["resnet50", { block: BOTTLENECK, depths: [3, 4, 6, 3] }],
  ["resnet101", { block: BOTTLENECK, depths: [3, 4, 23, 3] }],
  ["resnet152", { block: BOTTLENECK, depths: [3, 8, 36, 3] }],
]);

/** Channels between the convolutions of each stage's blocks, in all of these networks. */
export const USUAL_CHANNELS: readonly number[] = [64, 128, 256, 512];
