// An experiment with a language model or a classifier of images as a command: its settings are flags, what happens is
// shown, Ctrl-C keeps what is done. Recipes and `gblr finetune` are made of this.

import process from "node:process";
import type { Command, Option } from "commander";
import { workbenchCache } from "../../native/cache-folder.ts";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import type { ExperimentContext } from "../pipeline/context.ts";
import type { ExperimentEvent } from "../pipeline/events.ts";
import { experiment } from "../pipeline/experiment.ts";
import { imageDomain } from "../pipeline/image-domain.ts";
import { type ImageSettings, imageExperiment } from "../pipeline/image-settings.ts";
import { languageDomain } from "../pipeline/language-domain.ts";
import { type LanguageSettings, languageSettings } from "../pipeline/language-settings.ts";
import type { ExperimentSettings } from "../pipeline/settings.ts";
import { SettingsError } from "../pipeline/settings-error.ts";
import { addEngineOptions, openEngineFor } from "./engine-options.ts";
import { comparisonTable, ExperimentView } from "./experiment-view.ts";
import { withHub } from "./hub-access.ts";
import { interruptible } from "./interrupt.ts";
import { exampleText, Interrupted, programNamed, runMain, UsageError } from "./program.ts";
import { zooReleaseOf } from "./pull-zoo.ts";
import { defaultsFor } from "./recipe-defaults.ts";
import { optionsOf, readSettings } from "./settings.ts";
import { paletteFor } from "./terminal.ts";
import { commandLine, versionsOf } from "./versions.ts";

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
