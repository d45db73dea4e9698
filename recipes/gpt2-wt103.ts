#!/usr/bin/env bun
// Compresses GPT-2 small to 43.7 % of its FLOPs and fine-tunes it on WikiText-103: the language experiment of the paper
// (arXiv 2310.18882, section 5.2), with the settings of its reference configuration, which are the defaults of all
// settings.
//
//   bun run recipes/gpt2-wt103.ts
//   bun run recipes/gpt2-wt103.ts --structure lowrank
//   bun run recipes/gpt2-wt103.ts --precision bfloat16 --compare lowrank,monarch --push owner/gpt2-wt103-gblr

import { runRecipe } from "../workbench/cli/experiment.ts";

await runRecipe({
  name: "gpt2-wt103",
  summary: "GPT-2 small on WikiText-103: measured, compressed with GBLR, fine-tuned, measured again, published.",
  example: [
    "bun run recipes/gpt2-wt103.ts",
    "bun run recipes/gpt2-wt103.ts --flops 0.35 --shrink budget --precision bfloat16",
    "bun run recipes/gpt2-wt103.ts --compare lowrank,monarch --push owner/gpt2-wt103-gblr",
  ].join("\n"),
  defaults: {
    model: "Graphcore/gpt2-wikitext-103",
    dataset: "Salesforce/wikitext",
    config: "wikitext-103-raw-v1",
    wholeWindows: true,
  },
});
