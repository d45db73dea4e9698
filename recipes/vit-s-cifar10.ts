#!/usr/bin/env bun
// Trains a ViT-S with GBLR layers from scratch on CIFAR-10 (arXiv 2310.18882, section 5.1), with the settings of the
// reference configuration. The layers start at the cost of dense ones, and their widths shrink during training.
//
//   bun run recipes/vit-s-cifar10.ts
//   bun run recipes/vit-s-cifar10.ts --dataset uoft-cs/cifar100

import { runRecipe } from "../workbench/cli/experiment.ts";

await runRecipe({
  kind: "images",
  name: "vit-s-cifar10",
  summary: "ViT-S on CIFAR-10 or CIFAR-100 from scratch, with GBLR layers that learn their widths.",
  example: [
    "bun run recipes/vit-s-cifar10.ts",
    "bun run recipes/vit-s-cifar10.ts --dataset uoft-cs/cifar100 --target 0.1",
    "bun run recipes/vit-s-cifar10.ts --compare lowrank,monarch,dense",
  ].join("\n"),
  defaults: {
    model: "scratch:vit_small_patch4_32",
    dataset: "uoft-cs/cifar10",
    holdOut: 0.1,
    mean: [0.4914, 0.4822, 0.4465],
    std: [0.247, 0.2435, 0.2616],
    crop: 1,
    trainCrop: "none",
    flip: 0,
    autoAugment: "cifar10",
    widths: "splr",
    locations: "const0",
    shrink: "adaptive",
    threshold: 0.02,
    target: 0.05,
    sigma: [1, 100],
    sigmaEpochs: [5, 300],
    epochs: 310,
    decayEpochs: 300,
    batch: 1024,
    microBatch: 256,
    learningRate: 5e-4,
    structureLearningRate: 5e-3,
    weightDecay: 0.05,
    schedule: "cosine",
    warmupEpochs: 5,
    minimumRate: 1e-5,
    clip: 0,
    dropPath: 0.1,
    labelSmoothing: 0.1,
    mixup: 0.8,
    cutmix: 1,
  },
});
