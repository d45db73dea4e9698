// `gblr finetune`: trains a model on as it is, dense or compressed, with everything that recipes have: schedules, rules on
// widths, checkpoints, evaluation, report. What the model is, for text or for images, it says itself. Conversion is
// `gblr convert`; both at once are recipes.

import process from "node:process";
import type { Command } from "commander";
import { isClassifier } from "../models/index.ts";
import { locateArchitecture } from "../pipeline/sources.ts";
import { addSettings, type ExperimentFlags, type Kind, type Recipe, runExperiment } from "./experiment.ts";
import { ExperimentView, shown } from "./experiment-view.ts";
import { DEFAULTS, expectFlagsOf, finetuneOptions } from "./finetune/flags.ts";
import { withHub } from "./hub-access.ts";
import { interruptible } from "./interrupt.ts";
import { verb } from "./program.ts";

const TEXT = {
  name: "finetune",
  summary: "train a model on, dense or compressed: a language model or a classifier of images",
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
    "a model folder, dense or with trainable.safetensors, owner/name[@revision] on the Hub, or zoo:vit-b-gaudi",
  );
  addSettings(command, finetuneOptions()).action(finetune);
}

async function finetune(model: string, flags: ExperimentFlags): Promise<void> {
  const { kind, type } = await kindOf(model, flags);
  expectFlagsOf(kind, flags, { model, type });
  await runExperiment({ ...TEXT, kind, defaults: DEFAULTS[kind] } as Recipe, { ...flags, model });
}

async function kindOf(model: string, { offline }: ExperimentFlags): Promise<{ kind: Kind; type: string }> {
  const view = new ExperimentView({ silent: true });
  try {
    const architecture = await interruptible("interrupted; nothing is done yet", (signal) =>
      withHub(process.env, (access) =>
        shown(locateArchitecture(model, { access: { ...access, ...(offline && { offline }) }, signal }), view),
      ),
    );
    return { kind: isClassifier({ architecture }) ? "images" : "language", type: architecture.type };
  } finally {
    view.stop();
  }
}
