#!/usr/bin/env bun
// Trains a ViT-B/16 with GBLR layers from scratch on ImageNet (arXiv 2310.18882, section 5.1), with the settings of the
// reference configuration. The layers start at the cost of dense ones, and their widths shrink during training.
//
//   bun run recipes/vit-b-imagenet-scratch.ts --precision bfloat16

import { runRecipe } from "../workbench/cli/experiment.ts";

await runRecipe({
  kind: "images",
  name: "vit-b-imagenet-scratch",
  summary: "ViT-B/16 on ImageNet from scratch, with GBLR layers that learn their widths and locations.",
  example: [
    "bun run recipes/vit-b-imagenet-scratch.ts --precision bfloat16",
    "bun run recipes/vit-b-imagenet-scratch.ts --structure dense",
  ].join("\n"),
  defaults: {
    model: "scratch:vit_base_patch16_224",
    dataset: "ILSVRC/imagenet-1k",
    testSplit: "validation",
    widths: "splr",
    locations: "const0",
    shrink: "adaptive",
    threshold: 0.04,
    target: 0.12,
    sigma: [1, 100],
    sigmaEpochs: [5, 300],
    epochs: 310,
    decayEpochs: 300,
    batch: 1024,
    microBatch: 64,
    learningRate: 1e-3,
    structureLearningRate: 1e-3,
    weightDecay: 0.05,
    schedule: "cosine",
    warmupEpochs: 10,
    minimumRate: 1e-5,
    clip: 0,
    dropPath: 0,
    labelSmoothing: 0.1,
    mixup: 0.5,
    randAugment: "m9-mstd0.5",
    erasing: 0.25,
    crop: 0.9,
    trainSample: 10_000,
  },
});
