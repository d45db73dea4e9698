#!/usr/bin/env bun
// Compresses GPT-2 medium and fine-tunes it on WikiText-103. The settings are those of gpt2-wt103.ts, except for a
// smaller micro-batch that fits a GPU with 40 GB.
//
//   bun run recipes/gpt2-medium-wt103.ts --precision bfloat16

import { runRecipe } from "../workbench/cli/experiment.ts";

await runRecipe({
  name: "gpt2-medium-wt103",
  summary: "GPT-2 medium on WikiText-103: measured, compressed with GBLR, fine-tuned, measured again, published.",
  example: "bun run recipes/gpt2-medium-wt103.ts --precision bfloat16",
  defaults: {
    model: "Graphcore/gpt2-medium-wikitext-103",
    dataset: "Salesforce/wikitext",
    config: "wikitext-103-raw-v1",
    wholeWindows: true,
    microBatch: 8,
  },
});
