// An experiment with a language model or a classifier of images as a command: its settings are flags, what happens is
// shown, Ctrl-C keeps what is done. Recipes and `gblr finetune` are made of this.

import process from "node:process";
import type { Command, Option } from "commander";
import { workbenchCache } from "../../native/cache-folder.ts";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import { type ImageSettings, imageExperiment } from "../pipeline/domains/image-settings.ts";
import { imageDomain } from "../pipeline/domains/images.ts";
import { type LanguageSettings, languageDomain, languageSettings } from "../pipeline/domains/language.ts";
import { SCRATCH_SETTINGS, scratchName } from "../pipeline/domains/scratch-model.ts";
import { experiment } from "../pipeline/experiment.ts";
import { type ExperimentSettings, SettingsError } from "../pipeline/settings.ts";
import type { ExperimentContext, ExperimentEvent } from "../pipeline/stage.ts";
import { zooReleaseOf } from "./pull-zoo.ts";
import { withHub } from "./shared/hub-access.ts";
import { addEngineOptions, openEngineFor } from "./shared/options.ts";
import { exampleText, Interrupted, interruptible, programNamed, runMain, UsageError } from "./shared/program.ts";
import { optionsOf, readSettings } from "./shared/settings.ts";
import { paletteFor } from "./shared/terminal.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";
import { comparisonTable, ExperimentView } from "./shared/view.ts";

interface RecipeText {
  /** as the file is called, e.g. `gpt2-wt103` */
  name: string;
  summary: string;
  /** lines of a shell session, shown under the help */
  example: string;
}

/** `defaults` stand over those of the settings themselves. */
export type Recipe =
  | (RecipeText & { kind?: "language"; defaults?: Partial<LanguageSettings> })
  | (RecipeText & { kind: "images"; defaults?: Partial<ImageSettings> });

export type Kind = NonNullable<Recipe["kind"]>;

/** What a kind of experiment has no use for. */
export const NOT_OF: Readonly<Record<Kind, ReadonlySet<string>>> = {
  language: new Set(["convolutions"]),
  images: new Set(),
};

/** Runs a recipe with the flags of this process; the exit code says how it ended. */
export async function runRecipe(recipe: Recipe): Promise<void> {
  await runMain(recipeProgram(recipe));
}

export function recipeProgram(recipe: Recipe): Command {
  const program = programNamed(recipe.name)
    .description(recipe.summary)
    .addHelpText("after", exampleText(recipe.example));
  const options = optionsFor(recipe).filter((option) => !NOT_OF[recipe.kind ?? "language"].has(option.attributeName()));
  return addSettings(program, options).action((flags) => runExperiment(recipe, flags));
}

/** Flags of settings, and those that every experiment has. */
export function addSettings(command: Command, options: readonly Option[]): Command {
  for (const option of options) command.addOption(option);
  return addEngineOptions(command.optionsGroup("Machine:"))
    .option("--offline", "take model and data from the cache or not at all")
    .option("--json", "one JSON document on stdout");
}

const optionsFor = (recipe: Recipe): Option[] =>
  recipe.kind === "images" ? optionsOf(imageExperiment, recipe.defaults) : optionsOf(languageSettings, recipe.defaults);

export interface ExperimentFlags extends OpenEngineOptions {
  offline?: boolean;
  json?: boolean;
  [setting: string]: unknown;
}

/** @throws UsageError before any work; Interrupted when it was stopped */
export async function runExperiment(recipe: Recipe, flags: ExperimentFlags): Promise<void> {
  const { settings, start } = experimentOf(recipe, flags);
  const folder = settings.run ?? `runs/${recipe.name}-${settings.structure}`;
  const { json = false, offline = false } = flags;
  const view = new ExperimentView({ silent: json });
  try {
    const engine = await openEngineFor(flags);
    const message = `interrupted; ${folder} keeps what is done: run the same command again to go on`;
    await interruptible(message, (signal) =>
      withHub(process.env, async (access) => {
        const versions = versionsOf(engine);
        const reach = offline ? { ...access, offline } : access;
        const context = {
          access: reach,
          engine,
          zooRelease: zooReleaseOf(process.env),
          cache: workbenchCache(process.env),
          recipe: recipe.name,
          command: commandLine(),
          versions,
          signal,
        };
        for await (const event of start({ context, folder })) {
          view.show(event);
          if (event.kind === "interrupted") throw new Interrupted(message);
          if (event.kind === "finished") tell(event, json);
        }
      }),
    );
  } catch (error) {
    throw error instanceof SettingsError ? new UsageError(error.message) : error;
  } finally {
    view.stop();
  }
}

interface Prepared {
  settings: ExperimentSettings;
  start(place: { context: ExperimentContext; folder: string }): AsyncGenerator<ExperimentEvent>;
}

function experimentOf(recipe: Recipe, flags: ExperimentFlags): Prepared {
  if (recipe.kind === "images") {
    const settings = readSettings(imageExperiment, flags, defaultsFor(recipe, flags));
    return { settings, start: (place) => experiment(imageDomain, settings, place) };
  }
  const settings = readSettings(languageSettings, flags, defaultsFor(recipe, flags));
  return { settings, start: (place) => experiment(languageDomain, settings, place) };
}

function tell({ folder, model, rows, pushed }: Extract<ExperimentEvent, { kind: "finished" }>, json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ folder, model, pushed, rows }, null, 2)}\n`);
    return;
  }
  const palette = paletteFor(process.stdout, process.env);
  const places = [`model   ${model}`, `report  ${folder}/report.html`, ...(pushed ? [`pushed  ${pushed}`] : [])];
  const lines = ["", ...comparisonTable(rows, palette), "", ...places.map((line) => `  ${line}`)];
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** Defaults that say something of what a flag names otherwise: they go with what they belong to. */
const BELONG: readonly { flag: string; unless?: (value: string) => boolean; settings: readonly string[] }[] = [
  { flag: "dataset", settings: ["config"] },
  { flag: "structure", unless: (value) => value === "gblr", settings: ["init"] },
  { flag: "shrink", settings: ["threshold", "target", "startCost"] },
  { flag: "flops", settings: ["budget"] },
  { flag: "budget", settings: ["flops"] },
  { flag: "epochs", settings: ["decayEpochs", "sigmaEpochs"] },
  { flag: "steps", settings: ["decayEpochs", "sigmaEpochs"] },
  { flag: "randAugment", settings: ["autoAugment", "colorJitter"] },
  { flag: "autoAugment", settings: ["randAugment", "colorJitter"] },
  { flag: "colorJitter", settings: ["randAugment", "autoAugment"] },
  {
    flag: "model",
    unless: (value) => scratchName(value) !== undefined,
    // Wide blocks at one place under smooth masks are for learning from nothing; how images are prepared a model that has
    // learned says itself.
    settings: [...SCRATCH_SETTINGS, "widths", "locations", "sigma", "sigmaEpochs", "crop", "cropMode", "interpolation"],
  },
];

/** Rules that let the cost drift from where it began. */
const DRIFTING = ["mean", "targeted", "adaptive"];

/** What a recipe says stands where no flag says otherwise. A cost that a flag asks for is held, by the rule that holds it. */
export function defaultsFor<Defaults extends object>(
  { defaults }: { defaults?: Defaults },
  flags: Readonly<Record<string, unknown>>,
): Partial<Defaults> {
  const gone = BELONG.filter(({ flag, unless }) => flags[flag] !== undefined && !unless?.(String(flags[flag])));
  const names = gone.flatMap(({ settings }) => settings);
  const entries = Object.entries({ ...defaults });
  const left = Object.fromEntries(entries.filter(([name]) => !names.includes(name)));
  const asksCost = flags.budget !== undefined || flags.flops !== undefined;
  if (!asksCost || flags.shrink !== undefined || !DRIFTING.includes(left.shrink as string))
    return left as Partial<Defaults>;
  const { threshold: _, target: __, ...others } = left;
  return { ...others, shrink: "budget" } as object as Partial<Defaults>;
}
