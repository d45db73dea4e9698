#!/usr/bin/env bun
// The table of compression methods: SmolLM2-135M-Instruct with 40, 60 and 20 % fewer parameters in its linear layers by
// every method, before any training; output errors of layers at 50 and 30 %; and at 60 % GBLR and low rank with three sets
// of calibration windows, before and after the same short recovery. bench/compression.ts writes the tables and pictures.
//
//   bun run recipes/smollm2-table.ts
//   bun run recipes/smollm2-table.ts --fine-tune none

import { runRecipe } from "../workbench/cli/experiment.ts";
import { ROWS } from "./smollm2-table/rows.ts";

await runRecipe({
  name: "smollm2-table",
  summary: "SmolLM2-135M-Instruct compressed by every method at three budgets, as one table.",
  example: [
    "bun run recipes/smollm2-table.ts",
    "bun run recipes/smollm2-table.ts --model SmolLM2-135M-Instruct.Q4_1.gguf --dataset my-texts --fine-tune none",
    "bun run recipes/smollm2-table.ts --compare lowrank:activation:loss@0.6+reorder=none,gblr:search:loss@0.6",
  ].join("\n"),
  defaults: {
    model: "HuggingFaceTB/SmolLM2-135M-Instruct",
    dataset: "Salesforce/wikitext",
    config: "wikitext-2-raw-v1",
    context: 1024,
    limit: 40,
    calibrationSamples: 64,
    calibrationContext: 512,
    // The main variant, whose model is kept. Each row has these settings unless it names others.
    structure: "gblr",
    init: "search",
    allocate: "loss",
    sequential: true,
    reorder: "energy",
    reorderUnits: ["hidden"],
    budget: 0.8,
    compare: ROWS,
    fineTune: ["gblr:search:loss@0.6", "lowrank:activation:loss@0.6+reorder=none"],
    keepModels: false,
    lora: 16,
    steps: 200,
    batch: 2,
    microBatch: 2,
    learningRate: 1e-3,
    warmupSteps: 20,
    evaluateEvery: 10,
    checkpointEvery: 0.04,
    shrink: "none",
  },
});
