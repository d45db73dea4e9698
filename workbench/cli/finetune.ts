// `gblr finetune`: fine-tunes a dense or a compressed model with the training of recipes, without the conversion:
// schedules, shrink rules, checkpoints, evaluation, report. The settings that apply depend on whether the model's
// config.json is that of a language model or of an image classifier.

import type { Command } from "commander";
import { SCRATCH_SETTINGS } from "../pipeline/domains/scratch-model.ts";
import { isCompressionSetting } from "../pipeline/settings.ts";
import { addSettings, type ExperimentFlags, NOT_OF, type Recipe, runExperiment } from "./experiment.ts";
import { type KindDefaults, KindFlags, kindOf } from "./shared/kinds.ts";
import { verb } from "./shared/program.ts";

const TEXT = {
  name: "finetune",
  summary: "fine-tune a dense or compressed language model or image classifier",
  example: [
    "gblr finetune runs/gpt2-40 --dataset Salesforce/wikitext --config wikitext-103-raw-v1 --run runs/gpt2-40-tuned",
    "gblr finetune runs/gpt2-40 --dataset my-texts --epochs 3 --shrink budget --target 0.3 --run runs/gpt2-30",
    "gblr finetune timm/vit_base_patch16_224.augreg_in1k --dataset uoft-cs/cifar10 --new-head --hold-out 0.1 --run runs/vit",
    "gblr finetune runs/vit-40 --dataset ILSVRC/imagenet-1k --test-split validation --mixup 0.5 --run runs/vit-40-tuned",
  ].join("\n"),
};

export function addFinetune(program: Command): void {
  const command = verb(program, TEXT).argument(
    "<model>",
    "model folder, dense or with trainable.safetensors, .gguf file, owner/name[@revision] on the Hub, or zoo:vit-b-gaudi",
  );
  addSettings(command, FLAGS.options).action(finetune);
}

async function finetune(model: string, flags: ExperimentFlags): Promise<void> {
  const found = await kindOf(model, flags.offline);
  FLAGS.expectOf(found, flags, model);
  const { kind, context } = found;
  const defaults = { ...DEFAULTS[kind], ...(context !== undefined && { context }) };
  await runExperiment({ ...TEXT, kind, defaults } as Recipe, { ...flags, model });
}

/** Settings without a flag beside those of the conversion. The model is an argument. */
const WITHOUT = new Set<string>(["model", "startCost", "fineTune", "keepModels", ...SCRATCH_SETTINGS]);

/** Defaults for trained models: a lower learning rate and a shorter training than in recipes. */
export const DEFAULTS: KindDefaults = {
  language: { structure: "dense", epochs: 1, batch: 32, microBatch: 4, learningRate: 1e-4, warmupEpochs: 0.1 },
  images: {
    structure: "dense",
    epochs: 5,
    batch: 64,
    microBatch: 32,
    learningRate: 5e-5,
    weightDecay: 0.05,
    schedule: "cosine",
    warmupEpochs: 0.5,
    labelSmoothing: 0.1,
  },
};

const FLAGS = new KindFlags({
  defaults: DEFAULTS,
  isOffered: (name, setting, kind) => !isCompressionSetting(setting) && !WITHOUT.has(name) && !NOT_OF[kind].has(name),
  // Limits select the first windows of a text, but random images.
  descriptions: {
    trainLimit: "windows (the first) or images (random) to train on (default: all)",
    limit: "windows (the first) or images (random) of each split to evaluate on (default: all)",
    run: "run folder (default: runs/finetune-dense)",
  },
});
