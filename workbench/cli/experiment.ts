// Runs an experiment as a command, for recipes and for `gblr finetune`: reads the settings from flags, shows the
// events, and stops on Ctrl-C so that the run can be resumed.

import process from "node:process";
import type { Command, Option } from "commander";
import { isFirst } from "../distributed/process-group.ts";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import { type ImageSettings, imageExperiment } from "../pipeline/domains/image-settings.ts";
import { imageDomain } from "../pipeline/domains/images.ts";
import { type LanguageSettings, languageDomain, languageSettings } from "../pipeline/domains/language.ts";
import { experiment } from "../pipeline/experiment.ts";
import type { ExperimentSettings } from "../pipeline/settings.ts";
import type { ExperimentContext, PipelineEvent } from "../pipeline/stage.ts";
import type { Kind } from "./shared/kinds.ts";
import { addInferenceOptions, JSON_DOCUMENT, OFFLINE } from "./shared/options.ts";
import { exampleText, Interrupted, programNamed, runMain } from "./shared/program.ts";
import { openEngineAndJoin } from "./shared/ranks.ts";
import { defaultsFor, optionsOf, readSettings } from "./shared/settings.ts";
import { runStages } from "./shared/stages.ts";
import { paletteFor } from "./shared/terminal.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";
import { comparisonTable } from "./shared/view.ts";

interface RecipeText {
  /** name of the file, e.g. `gpt2-wt103` */
  name: string;
  summary: string;
  /** example commands, shown below the help */
  example: string;
}

/** A recipe: its texts, the kind of its model (default: language), and defaults that replace those of the settings. */
export type Recipe =
  | (RecipeText & { kind?: "language"; defaults?: Partial<LanguageSettings> })
  | (RecipeText & { kind: "images"; defaults?: Partial<ImageSettings> });

/** Settings that do not apply to a kind of experiment and therefore have no flag. */
export const NOT_OF: Readonly<Record<Kind, ReadonlySet<string>>> = {
  language: new Set(["convolutions"]),
  images: new Set(),
};

/** Runs a recipe with the flags of this process, and sets the exit code. */
export async function runRecipe(recipe: Recipe): Promise<void> {
  await runMain(recipeProgram(recipe));
}

/** The command of a recipe. */
export function recipeProgram(recipe: Recipe): Command {
  const program = programNamed(recipe.name)
    .description(recipe.summary)
    .addHelpText("after", exampleText(recipe.example));
  const options = optionsFor(recipe).filter((option) => !NOT_OF[recipe.kind ?? "language"].has(option.attributeName()));
  return addSettings(program, options).action((flags) => runExperiment(recipe, flags));
}

/** Adds the flags of the settings, and those of the engine and the output. */
export function addSettings(command: Command, options: readonly Option[]): Command {
  for (const option of options) command.addOption(option);
  return addInferenceOptions(command.optionsGroup("Machine:"))
    .option("--offline", OFFLINE)
    .option("--json", JSON_DOCUMENT);
}

const optionsFor = (recipe: Recipe): Option[] =>
  recipe.kind === "images" ? optionsOf(imageExperiment, recipe.defaults) : optionsOf(languageSettings, recipe.defaults);

export interface ExperimentFlags extends OpenEngineOptions {
  offline?: boolean;
  json?: boolean;
  [setting: string]: unknown;
}

/**
 * Runs an experiment and prints its result.
 * @throws UsageError or SettingsError before any work; Interrupted if the user stops it
 */
export async function runExperiment(recipe: Recipe, flags: ExperimentFlags): Promise<void> {
  const { settings, start } = experimentOf(recipe, flags);
  const folder = settings.run ?? `runs/${recipe.name}-${settings.structure}`;
  const { json = false, offline } = flags;
  const { engine, ranks } = await openEngineAndJoin(flags);
  const origin = { engine, ranks, recipe: recipe.name, command: commandLine(), versions: versionsOf(engine) };
  const interrupted = `interrupted; ${folder} keeps the results so far: run the same command again to resume`;
  // Only the first of several processes prints.
  const options = { interrupted, offline, json, silent: json, quiet: !isFirst(ranks) };
  await runStages(options, async function* (context, named) {
    for await (const event of start({ context: { ...context, ...origin }, folder })) {
      yield event;
      if (event.kind === "interrupted") throw new Interrupted(interrupted);
      if (event.kind !== "finished") continue;
      tell(event.pushed === undefined ? event : { ...event, pushed: named(event.pushed) }, json);
    }
  });
}

interface Prepared {
  settings: ExperimentSettings;
  start(place: { context: ExperimentContext; folder: string }): AsyncGenerator<PipelineEvent>;
}

function experimentOf(recipe: Recipe, flags: ExperimentFlags): Prepared {
  if (recipe.kind === "images") {
    const settings = readSettings(imageExperiment, flags, defaultsFor(recipe, flags));
    return { settings, start: (place) => experiment(imageDomain, settings, place) };
  }
  const settings = readSettings(languageSettings, flags, defaultsFor(recipe, flags));
  return { settings, start: (place) => experiment(languageDomain, settings, place) };
}

function tell({ folder, model, rows, pushed }: Extract<PipelineEvent, { kind: "finished" }>, json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ folder, model, pushed, rows }, null, 2)}\n`);
    return;
  }
  const palette = paletteFor(process.stdout, process.env);
  const places = [`model   ${model}`, `report  ${folder}/report.html`, ...(pushed ? [`pushed  ${pushed}`] : [])];
  const lines = ["", ...comparisonTable(rows, palette), "", ...places.map((line) => `  ${line}`)];
  process.stdout.write(`${lines.join("\n")}\n`);
}
