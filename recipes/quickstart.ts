#!/usr/bin/env bun
// The whole way in a few minutes, with nothing but this package: a small GPT-2 learns made up stories, is compressed to
// 40 % of its FLOPs by low rank and by GBLR, both are fine-tuned alike, and the result goes to a local Hub and back.
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
  // Compressing is only worth watching where a model has something to lose: it learns until it knows the stories.
  train: { ...shared, model: UNTRAINED, steps: 500, learningRate: 6e-3, warmupEpochs: 0.05, push: "quickstart/gpt2" },
  compress: {
    ...shared,
    model: "quickstart/gpt2",
    flops: 0.4,
    // As usual, and with all that GBLR starts from here.
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
