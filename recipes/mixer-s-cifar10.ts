#!/usr/bin/env bun
// Trains an MLP-Mixer-S with GBLR layers from scratch on CIFAR-10 (arXiv 2310.18882, section 5.1), with the settings of
// the reference configuration. The layers start at the cost of dense ones, and their widths shrink during training.
//
//   bun run recipes/mixer-s-cifar10.ts
//   bun run recipes/mixer-s-cifar10.ts --dataset uoft-cs/cifar100

import { runRecipe } from "../workbench/cli/experiment.ts";

await runRecipe({
  kind: "images",
  name: "mixer-s-cifar10",
  summary: "MLP-Mixer-S on CIFAR-10 or CIFAR-100 from scratch, with GBLR layers that learn their widths.",
  example: [
    "bun run recipes/mixer-s-cifar10.ts",
    "bun run recipes/mixer-s-cifar10.ts --dataset uoft-cs/cifar100 --target 0.1",
    "bun run recipes/mixer-s-cifar10.ts --compare lowrank,monarch,dense",
  ].join("\n"),
  defaults: {
    model: "scratch:mixer_s4_32",
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
    threshold: 0.2,
    target: 0.3,
    sigma: [1, 100],
    sigmaEpochs: [5, 300],
    epochs: 310,
    decayEpochs: 300,
    batch: 1024,
    microBatch: 256,
    learningRate: 5e-4,
    structureLearningRate: 5e-3,
    weightDecay: 0.1,
    schedule: "cosine",
    warmupEpochs: 5,
    minimumRate: 5e-6,
    clip: 1,
    dropPath: 0.1,
    labelSmoothing: 0.1,
    mixup: 0.5,
  },
});
