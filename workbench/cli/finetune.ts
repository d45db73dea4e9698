// `gblr finetune`: trains a model on as it is, dense or compressed, with everything that recipes have: schedules, rules on
// widths, checkpoints, evaluation, report. Conversion is `gblr convert`; both at once are recipes.

import type { Command } from "commander";
import type { LanguageSettings } from "../experiment/language-settings.ts";
import { addSettings, type ExperimentFlags, runExperiment } from "./experiment.ts";
import { verb } from "./program.ts";

/** What only converting needs. */
const CONVERSION = [
  "model",
  "structure",
  "compare",
  "widths",
  "locations",
  "flops",
  "budget",
  "allocate",
  "layers",
  "init",
  "searchSteps",
  "calibrationSamples",
  "startCost",
] as const;

const DEFAULTS: Partial<LanguageSettings> = {
  structure: "dense",
  epochs: 1,
  batch: 32,
  microBatch: 4,
  learningRate: 1e-4,
  warmupEpochs: 0.1,
};

export function addFinetune(program: Command): void {
  const command = verb(program, {
    name: "finetune",
    summary: "train a model on, dense or compressed",
    example: [
      "gblr finetune runs/gpt2-40 --dataset Salesforce/wikitext --config wikitext-103-raw-v1 --run runs/gpt2-40-tuned",
      "gblr finetune runs/gpt2-40 --dataset my-texts --epochs 3 --shrink budget --target 0.3 --run runs/gpt2-30",
    ].join("\n"),
  }).argument("<model>", "a model folder with trainable.safetensors, a dense one, or owner/name[@revision]");
  addSettings(command, { defaults: DEFAULTS }, CONVERSION).action((model: string, flags: ExperimentFlags) =>
    runExperiment({ name: "finetune", summary: "", example: "", defaults: DEFAULTS }, { ...flags, model }),
  );
}
