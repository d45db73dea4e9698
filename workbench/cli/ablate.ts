// `gblr ablate`: answers questions about the method with one table, by converting a model in all variants that the
// questions compare. The variants are in pipeline/ablation.ts; this file has the options and prints.

import process from "node:process";
import { type Command, Option } from "commander";
import {
  type Ablation,
  ablate,
  ablationSettings,
  answersTo,
  QUESTIONS,
  type QuestionName,
} from "../pipeline/ablation.ts";
import { imageExperiment } from "../pipeline/domains/image-settings.ts";
import { imageDomain } from "../pipeline/domains/images.ts";
import { languageDomain, languageSettings } from "../pipeline/domains/language.ts";
import type { ExperimentSettings } from "../pipeline/settings.ts";
import type { PipelineEvent } from "../pipeline/stage.ts";
import { type Compared, compareResults } from "../report/compare/compare.ts";
import { addSettings, type ExperimentFlags, NOT_OF } from "./experiment.ts";
import { DEFAULTS } from "./finetune.ts";
import { comparedDocument, comparedMarkdown, comparedText } from "./shared/compared.ts";
import { type KindDefaults, KindFlags, kindOf, type ModelKind } from "./shared/kinds.ts";
import { MODEL_ARGUMENT, numbersIn, openEngineFor, repetitionsOf } from "./shared/options.ts";
import { Interrupted, UsageError, verb } from "./shared/program.ts";
import { readSettings } from "./shared/settings.ts";
import { runStages } from "./shared/stages.ts";
import { paletteFor } from "./shared/terminal.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Converts a language model or an image classifier in several variants, and
shows in one table what each part of the method is worth. Questions:
${Object.entries(QUESTIONS)
  .map(([name, { summary }]) => `  ${name.padEnd(11)} ${summary}`)
  .join("\n")}

Without --steps the variants are converted and measured only. With it, each
variant is also trained, and the table has a row before and a row after. It
needs --stable-blocks, or --lora to train adapters.

With --seeds or --calibration-seeds everything is repeated for each seed, and
the table shows means and standard deviations.

To resume, run the same command again: finished variants are not repeated.
`.trim();

const SUMMARY = "show in one table what each part of the method is worth";

/** Settings that have flags: those that are the same for all variants. */
const OFFERED = [
  ...["dataset", "config", "trainSplit", "validationSplit", "testSplit", "column", "encoding", "context"],
  ...["wholeWindows", "imageColumn", "labelColumn", "classOrder", "holdOut", "trainSample"],
  ...["crop", "cropMode", "interpolation", "workers", "skipBad", "trainCrop", "flip", "randAugment", "mixup", "cutmix"],
  ...["labelSmoothing", "budget", "layers", "convolutions", "reorder", "reorderUnits", "sequential", "damping"],
  ...["whitening", "stableBlocks"],
  ...["calibrationSamples", "steps", "batch", "microBatch", "trainLimit", "learningRate", "weightDecay", "schedule"],
  ...["warmupSteps", "clip", "lora", "loraAlpha", "loraLayers", "loraFull", "distill", "temperature", "teacher"],
  ...["teacherDtype", "limit", "fresh"],
];

// The rule keeps the cost that all variants share.
const COMMON = { budget: 0.5, shrink: "budget" } as const;

const PRESETS: KindDefaults = {
  language: { ...DEFAULTS.language, ...COMMON, limit: 40 },
  images: { ...DEFAULTS.images, ...COMMON },
};

const FLAGS = new KindFlags({
  defaults: PRESETS,
  isOffered: (name, _, kind) => OFFERED.includes(name) && !NOT_OF[kind].has(name),
  descriptions: {
    steps: "steps to train each variant for (default: no training)",
    warmupSteps: "length of the warm-up in steps (default: a tenth of --steps)",
    fresh: "delete the contents of the run folders and start over",
    trainLimit: "windows (the first) or images (random) to train on (default: all)",
    limit: "windows (the first) or images (random) of each split to evaluate on (default: 40 windows, all images)",
  },
});

interface AblateFlags extends ExperimentFlags {
  questions: string;
  quanta: string;
  sigmas: string;
  seeds?: string;
  calibrationSeeds?: string;
  steps?: string;
  stableBlocks?: boolean;
  lora?: string;
  out?: string;
  markdown?: boolean;
}

export function addAblate(program: Command): void {
  const command = verb(program, {
    name: "ablate",
    summary: SUMMARY,
    example: [
      "gblr ablate HuggingFaceTB/SmolLM2-135M --dataset Salesforce/wikitext --config wikitext-2-raw-v1 --budget 0.6",
      "gblr ablate models/gpt2 --dataset my-texts --questions allocation,quantum --calibration-seeds 0,1,2",
      "gblr ablate models/gpt2 --dataset my-texts --steps 200 --batch 16 --lora 8 --markdown > ablation.md",
      "gblr ablate timm/vit_base_patch16_224.augreg_in1k --dataset my-images --test-split val --hold-out 0.1",
    ].join("\n"),
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("<model>", MODEL_ARGUMENT)
    .optionsGroup("Questions:")
    .option("--questions <list>", "questions to answer", Object.keys(QUESTIONS).join(","))
    .option("--quanta <list>", "quanta of widths to compare with 1, in samples", "8,16,32")
    .option("--sigmas <list>", "values of σ for Gaussian masks; masks are smoother for smaller σ", "100,10")
    .option("--seeds <list>", "random seeds with which everything is repeated, e.g. 0,1,2")
    .option(
      "--calibration-seeds <list>",
      "seeds for drawing the calibration data, with which everything is repeated, e.g. 0,1,2",
    )
    .option("--out <folder>", "folder for the runs (default: runs/ablate)")
    .addOption(new Option("--markdown", "print the table in Markdown").conflicts("json"));
  addSettings(command, FLAGS.options).action(run);
}

async function run(model: string, flags: AblateFlags): Promise<void> {
  const { offline, json = false, markdown = false, out: folder = "runs/ablate" } = flags;
  const questions = questionsIn(flags.questions);
  const values = {
    quanta: numbersIn("quanta", flags.quanta),
    sigmas: numbersIn("sigmas", flags.sigmas),
    isTrained: flags.steps !== undefined,
  };
  if (values.isTrained && !flags.stableBlocks && flags.lora === undefined) {
    throw new UsageError("--steps trains the blocks of a search; add --stable-blocks, or --lora to train adapters");
  }
  const found = await kindOf(model, offline);
  FLAGS.expectOf(found, flags, model);
  const start = ablationOf(found, { ...flags, model }, ablationSettings(questions, values));
  const repetitions = repetitionsOf(flags);
  const engine = await openEngineFor(flags);
  const origin = { engine, recipe: "ablate", command: commandLine(), versions: versionsOf(engine) };
  const interrupted = `interrupted; ${folder} keeps the results so far: run the same command again to resume`;
  const options = { interrupted, offline, json, silent: json || markdown };
  const folders = await runStages(options, (context) =>
    start({ repetitions, folder, context: { ...context, ...origin } }),
  );
  if (!folders) throw new Interrupted(interrupted);
  const compared = await compareResults(folders);
  print(compared, { folder, markdown, json, answers: answersTo(questions, values) });
}

type Place = Omit<Ablation<ExperimentSettings>, "settings">;

/** An ablation with the settings of this kind of model, which are read from the flags. */
function ablationOf(
  { kind, context }: ModelKind,
  flags: Readonly<Record<string, unknown>>,
  variants: Partial<ExperimentSettings>,
): (place: Place) => AsyncGenerator<PipelineEvent, string[] | undefined> {
  const steps = Number(flags.steps);
  const preset = { ...variants, ...(steps > 0 && { warmupSteps: Math.ceil(steps / 10) }) };
  if (kind === "images") {
    const settings = readSettings(imageExperiment, flags, { ...PRESETS.images, ...preset });
    return (place) => ablate(imageDomain, { ...place, settings });
  }
  const own = context !== undefined && { context };
  const settings = readSettings(languageSettings, flags, { ...PRESETS.language, ...preset, ...own });
  return (place) => ablate(languageDomain, { ...place, settings });
}

interface Printed {
  folder: string;
  markdown: boolean;
  json: boolean;
  /** titles of rows by question */
  answers: Readonly<Record<string, readonly string[]>>;
}

function print(compared: Compared, { folder, markdown, json, answers }: Printed): void {
  const palette = paletteFor(process.stdout, process.env);
  const text = json
    ? JSON.stringify({ folder, questions: answers, ...comparedDocument(compared, []) }, null, 2)
    : markdown
      ? comparedMarkdown(compared)
      : `\n${comparedText(compared, { files: [folder], palette })}`;
  process.stdout.write(`${text}\n`);
}

/** The questions of a list. @throws UsageError for an unknown one */
function questionsIn(list: string): QuestionName[] {
  const known = Object.keys(QUESTIONS);
  const names = [...new Set(list.split(",").map((name) => name.trim()))];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return names as QuestionName[];
  throw new UsageError(`--questions: unknown question "${unknown}"; give one or more of ${known.join(", ")}`);
}
