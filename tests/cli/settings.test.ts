import { expect, test } from "bun:test";
import { Command } from "commander";
import { z } from "zod";
import { addCalibrationOptions } from "../../workbench/cli/convert/options.ts";
import { UsageError } from "../../workbench/cli/shared/program.ts";
import { optionsOf, readSettings } from "../../workbench/cli/shared/settings.ts";
import { imageExperiment } from "../../workbench/pipeline/domains/image-settings.ts";
import { languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { withPresentNames } from "../../workbench/pipeline/settings.ts";

const SCHEMA = z.object({
  learningRate: z.number().positive().default(1e-3).meta({ description: "of weights" }),
  warmupEpochs: z.number().min(0).default(1).meta({ description: "until the full rate", unit: "epochs" }),
  structure: z.enum(["gblr", "lowrank"]).default("gblr").meta({ description: "of converted layers" }),
  layers: z.array(z.string()).default(["recipe"]).meta({ description: "which to convert" }),
  resume: z.boolean().default(true).meta({ description: "go on with the run in the folder" }),
  fresh: z.boolean().default(false).meta({ description: "begin again" }),
  push: z.string().optional().meta({ description: "repository to push to" }),
});

/** The settings of a command line, read by commander as verbs read them. */
function read(line: string[], defaults: Parameters<typeof readSettings<typeof SCHEMA.shape>>[2] = {}) {
  const command = new Command();
  for (const option of optionsOf(SCHEMA, defaults)) command.addOption(option);
  command.exitOverride().configureOutput({ writeErr: () => {} });
  command.parse(line, { from: "user" });
  return readSettings(SCHEMA, command.opts(), defaults);
}

test("settings that no flag names have their defaults", () => {
  expect(read([])).toEqual({
    learningRate: 1e-3,
    warmupEpochs: 1,
    structure: "gblr",
    layers: ["recipe"],
    resume: true,
    fresh: false,
  });
});

test("a recipe's defaults stand in front of the schema's, and flags in front of both", () => {
  expect(read([], { warmupEpochs: 5 }).warmupEpochs).toBe(5);
  expect(read(["--warmup-epochs", "2.5"], { warmupEpochs: 5 }).warmupEpochs).toBe(2.5);
});

test("flags of each type are read as that type", () => {
  const settings = read([
    "--learning-rate",
    "2e-4",
    "--layers",
    "h.0.*, h.1.*",
    "--no-resume",
    "--fresh",
    "--push",
    "a/b",
  ]);
  expect(settings).toMatchObject({
    learningRate: 2e-4,
    layers: ["h.0.*", "h.1.*"],
    resume: false,
    fresh: true,
    push: "a/b",
  });
});

test("one error names every flag whose value makes no sense", () => {
  const wrong = () => read(["--learning-rate", "-1", "--warmup-epochs", "soon"]);
  expect(wrong).toThrow(UsageError);
  expect(wrong).toThrow("--learning-rate -1: expected number to be >0; --warmup-epochs soon: ");
});

test("a setting that has to be given and is not is missing by its flag", () => {
  const schema = SCHEMA.extend({ trainSplit: z.string() });
  expect(() => readSettings(schema, { learningRate: "-1" })).toThrow(
    "--learning-rate -1: expected number to be >0; --train-split is missing",
  );
});

test("settings of a group stand together in the help, under its name", () => {
  const command = new Command();
  const schema = z.object({
    before: z.string().meta({ description: "of none" }),
    rate: z.number().meta({ description: "of learning", group: "Training" }),
  });
  for (const option of optionsOf(schema)) command.addOption(option);
  expect(command.helpInformation()).toMatch(
    /Options:\n\s+--before[^\n]+\n[^\n]*--help[\s\S]*\nTraining:\n\s+--rate <number>/,
  );
});

test("an empty number is no zero", () => {
  expect(() => read(["--warmup-epochs", ""])).toThrow("--warmup-epochs");
});

test("a name that is no choice is refused by the command line", () => {
  expect(() => read(["--structure", "lowrnk"])).toThrow("lowrnk");
});

test("help tells description, unit and default of every setting", () => {
  const command = new Command();
  for (const option of optionsOf(SCHEMA, { warmupEpochs: 5 })) command.addOption(option);
  const help = command.configureHelp({ helpWidth: 200 }).helpInformation();
  expect(help).toContain("--warmup-epochs <epochs>");
  expect(help).toContain("until the full rate (default: 5)");
  expect(help).toContain("of weights (default: 0.001)");
  expect(help).toContain('(choices: "gblr", "lowrank")');
  expect(help).toContain("--no-resume");
});

test("a model from scratch is not made with a deviation of 0 that nothing can be divided by", () => {
  const deviations = (std: string) =>
    readSettings(imageExperiment, { std }, { model: "scratch:resnet18", dataset: "x" });
  expect(deviations("0.2,0.2,1").std).toEqual([0.2, 0.2, 1]);
  expect(() => deviations("0,0.2,1")).toThrow("--std 0,0.2,1: expected number to be >0");
});

test("a flag under another name of a setting is read as the setting, and is not in the help", () => {
  const schema = z.object({
    colorJitter: z
      .number()
      .optional()
      .meta({ description: "of colors", aliases: ["colourJitter"] }),
  });
  const command = new Command();
  for (const option of optionsOf(schema)) command.addOption(option);
  command.parse(["--colour-jitter", "0.4"], { from: "user" });
  expect(readSettings(schema, command.opts())).toEqual({ colorJitter: 0.4 });
  expect(command.helpInformation()).not.toContain("colour");
});

test("values under another name of a setting are found under its present one", () => {
  expect(withPresentNames(imageExperiment, { colourJitter: 0.4, flip: 0.5 })).toEqual({ colorJitter: 0.4, flip: 0.5 });
});

test.each(["--calibrate-samples", "--calibration-samples"])("recipes and convert both have %s", (flag) => {
  const recipe = new Command();
  for (const option of optionsOf(languageSettings)) recipe.addOption(option);
  recipe.parse([flag, "7"], { from: "user" });
  const settings = readSettings(languageSettings, recipe.opts(), { model: "m", dataset: "d" });
  expect(settings.calibrationSamples).toBe(7);
  const convert = new Command();
  addCalibrationOptions(convert);
  convert.parse([flag, "7"], { from: "user" });
  expect(convert.opts()).toMatchObject({ calibrateSamples: 7 });
});
