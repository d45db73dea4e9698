#!/usr/bin/env bun
// Compresses a trained ViT-B/16 by the budgeted block search and fine-tunes it on ImageNet: the image experiment of the
// paper (arXiv 2310.18882, section 5.1), with the settings of its reference configuration.
//
//   bun run recipes/vit-b-imagenet.ts
//   gblr sweep vit-b-imagenet --vary budget=0.125,0.15,0.175,0.2 --vary structure=gblr,lowrank

import { runRecipe } from "../workbench/cli/experiment.ts";

await runRecipe({
  kind: "images",
  name: "vit-b-imagenet",
  summary:
    "ViT-B/16 on ImageNet: measured, compressed with GBLR by block search, fine-tuned, measured again, published.",
  example: [
    "bun run recipes/vit-b-imagenet.ts --precision bfloat16",
    "bun run recipes/vit-b-imagenet.ts --structure lowrank --init svd --budget 0.2",
    "bun run recipes/vit-b-imagenet.ts --dataset my-images --compare lowrank,monarch",
  ].join("\n"),
  defaults: {
    model: "timm/vit_base_patch16_224.augreg_in1k",
    dataset: "ILSVRC/imagenet-1k",
    testSplit: "validation",
    budget: 0.2,
    init: "search",
    searchSteps: 1000,
    // The blocks are trained.
    stableBlocks: true,
    shrink: "none",
    epochs: 35,
    batch: 1024,
    microBatch: 64,
    learningRate: 1e-4,
    structureLearningRate: 1e-4,
    weightDecay: 0.05,
    schedule: "cosine",
    warmupEpochs: 0,
    minimumRate: 1e-5,
    clip: 0,
    dropPath: 0.1,
    labelSmoothing: 0.1,
    mixup: 0.5,
    randAugment: "m9-mstd0.5",
    erasing: 0.25,
    crop: 0.9,
    trainSample: 10_000,
  },
});
