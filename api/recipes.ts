// The entry point `gblr/recipes` of the npm package: experiments as files of settings. Each setting of such a file is also
// a flag of its command. `gblr sweep FILE` runs it over a grid of settings.

export { type Recipe, runRecipe } from "../workbench/cli/experiment.ts";
export { runTour } from "../workbench/cli/tour.ts";
export type { ImageSettings } from "../workbench/pipeline/domains/image-settings.ts";
export type { LanguageSettings } from "../workbench/pipeline/domains/language.ts";
export type { ExperimentSettings } from "../workbench/pipeline/settings.ts";
export type { Tour } from "../workbench/pipeline/tour.ts";
