#!/usr/bin/env bun
// Compresses SmolLM2-135M to 80, 60 and 40 % of the multiply-adds of its linear layers, by GBLR and by low rank with the
// same activation-aware initialization and the budget shared among layers, and fine-tunes each on WikiText-2. The model
// with 80 % is published; those with 60 and 40 % are in compare/ of the run folder.
//
//   bun run recipes/smollm2-wikitext.ts
//   bun run recipes/smollm2-wikitext.ts --model SmolLM2-135M-Instruct.Q4_1.gguf --steps 200
//   bun run recipes/smollm2-wikitext.ts --push owner/smollm2-gblr

import { runRecipe } from "../workbench/cli/experiment.ts";

await runRecipe({
  name: "smollm2-wikitext",
  summary: "SmolLM2-135M on WikiText-2 with 20, 40 and 60 % fewer multiply-adds in its linear layers.",
  example: [
    "bun run recipes/smollm2-wikitext.ts",
    "bun run recipes/smollm2-wikitext.ts --model SmolLM2-135M-Instruct.Q4_1.gguf --steps 200",
    "bun run recipes/smollm2-wikitext.ts --budget 0.5 --compare lowrank:activation:global --push owner/smollm2-gblr",
  ].join("\n"),
  defaults: {
    model: "HuggingFaceTB/SmolLM2-135M",
    dataset: "Salesforce/wikitext",
    config: "wikitext-2-raw-v1",
    context: 1024,
    init: "activation",
    allocate: "global",
    budget: 0.8,
    compare: [
      "lowrank:activation:global",
      "lowrank:activation:global@0.6",
      "gblr:activation:global@0.6",
      "lowrank:activation:global@0.4",
      "gblr:activation:global@0.4",
    ],
    shrink: "budget",
    epochs: 1,
    warmupEpochs: 0.1,
    batch: 16,
    microBatch: 2,
    learningRate: 1e-4,
    structureLearningRate: 1e-3,
  },
});
