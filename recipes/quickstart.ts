#!/usr/bin/env bun
// Runs all stages in a few minutes, without network access: trains a small GPT-2 on generated stories, compresses it to
// 40 % of its FLOPs by low rank and by GBLR, fine-tunes it, pushes it to a local Hub, and pulls it back.
//
//   bun run recipes/quickstart.ts        (npm start)

import { runTour } from "../workbench/cli/tour.ts";
import { makeRepositories, STORIES, UNTRAINED } from "./quickstart/repositories.ts";

const shared = {
  dataset: STORIES,
  context: 64,
  wholeWindows: true,
  batch: 16,
  microBatch: 16,
  weightDecay: 0.01,
  evaluateEvery: 0.25,
  seed: 1,
};

await runTour({
  name: "quickstart",
  summary: "Trains a small GPT-2, compresses it by low rank and by GBLR, and passes it through a local Hub.",
  folder: "runs/quickstart",
  prepare: (hub) => makeRepositories(hub, 1),
  // Trains until the model knows the stories, so that the effect of compression is visible.
  train: { ...shared, model: UNTRAINED, steps: 500, learningRate: 6e-3, warmupEpochs: 0.05, push: "quickstart/gpt2" },
  compress: {
    ...shared,
    model: "quickstart/gpt2",
    flops: 0.4,
    // Low rank with the default initialization and allocation, and low rank with those that GBLR has below.
    compare: ["lowrank", "lowrank:activation:global"],
    init: "activation",
    allocate: "global",
    shrink: "budget",
    steps: 100,
    learningRate: 3e-3,
    structureLearningRate: 1e-3,
    warmupEpochs: 0.02,
    push: "quickstart/gpt2-gblr",
  },
});
