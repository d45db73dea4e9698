#!/usr/bin/env bun
// Compresses the convolutions of a trained ResNet-18 with GBLR and fine-tunes it on ImageNet (arXiv 2310.18882, section
// 5.3), with the settings of the reference configuration except one: each convolution is converted as one matrix, which
// gives the published FLOPs. --convolutions per-kernel converts each position of the kernel, as that configuration does.
//
//   bun run recipes/resnet18-imagenet.ts
//   bun run recipes/resnet18-imagenet.ts --compare lowrank,tucker

import { runRecipe } from "../workbench/cli/experiment.ts";

await runRecipe({
  kind: "images",
  name: "resnet18-imagenet",
  summary: "ResNet-18 on ImageNet: measured, convolutions compressed with GBLR, fine-tuned, measured again, published.",
  example: [
    "bun run recipes/resnet18-imagenet.ts",
    "bun run recipes/resnet18-imagenet.ts --convolutions per-kernel",
    "bun run recipes/resnet18-imagenet.ts --compare lowrank,tucker",
  ].join("\n"),
  defaults: {
    model: "timm/resnet18.tv_in1k",
    dataset: "ILSVRC/imagenet-1k",
    testSplit: "validation",
    widths: "lr0.35",
    shrink: "targeted",
    threshold: 0.005,
    target: 0.35,
    epochs: 10,
    batch: 512,
    microBatch: 128,
    learningRate: 1e-4,
    weightDecay: 0.05,
    schedule: "cosine",
    warmupSteps: 100,
    minimumRate: 1e-6,
    clip: 0,
    labelSmoothing: 0.1,
    crop: 0.875,
    interpolation: "bicubic",
    trainSample: 10_000,
  },
});
