// `gblr finetune`: fine-tunes a dense or a compressed model with the training of recipes, without the conversion:
// schedules, shrink rules, checkpoints, evaluation, report. The settings that apply depend on whether the model's
// config.json is that of a language model or of an image classifier.

import type { Command, Option } from "commander";
import { z } from "zod";
import { isClassifier } from "../models/index.ts";
import { type ImageSettings, imageExperiment } from "../pipeline/domains/image-settings.ts";
import { CONTEXT, type LanguageSettings, languageSettings } from "../pipeline/domains/language.ts";
import { SCRATCH_SETTINGS } from "../pipeline/domains/scratch-model.ts";
import { fetchKind } from "../pipeline/fetch.ts";
import { experimentShape, isCompressionSetting } from "../pipeline/settings.ts";
import { addSettings, type ExperimentFlags, type Kind, NOT_OF, type Recipe, runExperiment } from "./experiment.ts";
import { UsageError, verb } from "./shared/program.ts";
import { defaultsOf, flagOf, optionsOf } from "./shared/settings.ts";
import { runStages } from "./shared/stages.ts";

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
  addSettings(command, finetuneOptions()).action(finetune);
}

async function finetune(model: string, flags: ExperimentFlags): Promise<void> {
  const { offline } = flags;
  const interrupted = "interrupted; nothing is done yet";
  const found = await runStages({ interrupted, offline }, (context) => fetchKind(model, context));
  const { architecture, positions = CONTEXT } = found;
  const kind = isClassifier({ architecture }) ? "images" : "language";
  expectFlagsOf(kind, flags, { model, type: architecture.type });
  const own = kind === "language" && { context: Math.min(CONTEXT, positions) };
  await runExperiment({ ...TEXT, kind, defaults: { ...DEFAULTS[kind], ...own } } as Recipe, { ...flags, model });
}

/** Settings without a flag beside those of the conversion. The model is an argument. */
const WITHOUT = new Set<string>(["model", "startCost", "fineTune", "keepModels", ...SCRATCH_SETTINGS]);

const SCHEMAS: Readonly<Record<Kind, z.ZodObject>> = { language: languageSettings, images: imageExperiment };

/** Defaults for trained models: a lower learning rate and a shorter training than in recipes. */
export const DEFAULTS: { language: Partial<LanguageSettings>; images: Partial<ImageSettings> } = {
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

function namesOf(kind: Kind): string[] {
  const settings = Object.entries(SCHEMAS[kind].shape as Record<string, z.ZodType>);
  const own = settings.filter(([name, setting]) => !isCompressionSetting(setting) && !WITHOUT.has(name));
  return own.map(([name]) => name).filter((name) => !NOT_OF[kind].has(name));
}

const OF = { language: namesOf("language"), images: namesOf("images") };
const SHARED = OF.language.filter((name) => OF.images.includes(name));
const onlyOf = (kind: Kind): string[] => OF[kind].filter((name) => !SHARED.includes(name));

/** Own descriptions: limits select the first windows of a text, but random images. */
const DESCRIPTIONS = {
  trainLimit: "windows (the first) or images (random) to train on (default: all)",
  limit: "windows (the first) or images (random) of each split to evaluate on (default: all)",
  run: "run folder (default: runs/finetune-dense)",
};

const HEADINGS: Readonly<Record<Kind, string>> = { language: "Language models:", images: "Image classifiers:" };
const KINDS: Readonly<Record<Kind, string>> = { language: "language models", images: "image classifiers" };

function finetuneOptions(): Option[] {
  const shape = experimentShape("windows or images");
  const described = Object.entries(DESCRIPTIONS).map(([name, description]) => {
    const schema = shape[name as keyof typeof DESCRIPTIONS];
    return [name, schema.meta({ ...schema.meta(), description, unit: undefined })];
  });
  const both = z.object({ ...shape, ...Object.fromEntries(described) });
  const context = `${CONTEXT}, at most the model's positions`;
  const own = (["language", "images"] as const).flatMap((kind) =>
    chosen(optionsOf(SCHEMAS[kind], { ...DEFAULTS[kind], context }), onlyOf(kind)).map((option) =>
      option.helpGroup(HEADINGS[kind]),
    ),
  );
  return [...chosen(optionsOf(both, sharedDefaults()), SHARED), ...own];
}

const chosen = (options: Option[], names: readonly string[]): Option[] =>
  options.filter((option) => names.includes(option.attributeName()));

/** For each shared setting its default, or both defaults if they differ between text and images. */
function sharedDefaults(): Record<string, unknown> {
  const text = defaultsOf(SCHEMAS.language, DEFAULTS.language);
  const images = defaultsOf(SCHEMAS.images, DEFAULTS.images);
  const isSame = (name: string) => JSON.stringify(text[name]) === JSON.stringify(images[name]);
  return Object.fromEntries(
    SHARED.map((name) => [name, isSame(name) ? text[name] : `${text[name]} for text, ${images[name]} for images`]),
  );
}

/** Checks the flags. @throws UsageError that names the flags which do not apply to this kind of model */
function expectFlagsOf(
  kind: Kind,
  flags: Readonly<Record<string, unknown>>,
  { model, type }: { model: string; type: string },
): void {
  const other = kind === "language" ? "images" : "language";
  const strange = onlyOf(other).filter((name) => flags[name] !== undefined);
  if (strange.length === 0) return;
  const names = strange.map(flagOf).join(" and ");
  throw new UsageError(`${names} ${strange.length > 1 ? "are" : "is"} for ${KINDS[other]}; ${model} is a ${type}`);
}
