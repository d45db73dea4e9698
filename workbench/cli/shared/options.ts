// Options that several verbs share: those that choose the engine, --offline, --json, and parsers for numbers.

import process from "node:process";
import { type Command, InvalidArgumentError, Option } from "commander";
import { EngineError } from "../../engine/core/errors.ts";
import { openEngine } from "../../engine/core/open.ts";
import { resolveOptions } from "../../engine/core/options.ts";
import { ENGINE_NAMES, type Engine, type OpenEngineOptions, PRECISIONS } from "../../engine/core/types.ts";
import { WEIGHT_TYPES } from "../../models/index.ts";
import type { Varied } from "../../pipeline/sweep.ts";
import { formChoices } from "../../structures/inference/choice.ts";
import { FORM_NAMES, type FormName } from "../../structures/structure.ts";
import { UsageError } from "./program.ts";
import { flagOf } from "./settings.ts";

/** Adds --engine, --device, --precision and --threads. */
export function addEngineOptions(command: Command, engine = "compute engine (default: auto)"): Command {
  return command
    .addOption(new Option("--engine <name>", engine).choices(["auto", ...ENGINE_NAMES]))
    .option("--device <device>", "cpu, cuda, cuda:1 or gpu (default: the best available)")
    .addOption(new Option("--precision <name>", "precision of matrix products (default: float32)").choices(PRECISIONS))
    .option("--threads <count>", "CPU threads (default: $OMP_NUM_THREADS, or one per core)", countFrom(1));
}

/** Adds the options of the engine and --form, for verbs that evaluate or generate. */
export function addInferenceOptions(command: Command): Command {
  return addEngineOptions(command).addOption(
    new Option(
      "--form <name>",
      "form of GBLR layers in inference; auto takes the fastest one, and measure times the forms again (default: auto)",
    ).choices(["auto", "measure", ...FORM_NAMES]),
  );
}

/**
 * Adds --dtype, the number type of weights in memory.
 * @param instead what to do for int8, which is a type of files only
 */
export function addWeightType(command: Command, instead = `use ${STORE_AS_INT8}`): Command {
  const option = new Option(
    "--dtype <type>",
    "number type of dense weights in memory; arithmetic is float32, and auto keeps the type of the file (default: float32)",
  ).choices(WEIGHT_TYPES);
  const { parseArg } = option;
  return command.addOption(
    option.argParser((text, before) => {
      if (text === "int8") throw new InvalidArgumentError(`It is a number type of files; ${instead}.`);
      return parseArg?.(text, before);
    }),
  );
}

const STORE_AS_INT8 = "`gblr export MODEL --to packed --dtype int8 --out FOLDER`";

/** Adds --keep, the size of a model of several sizes. */
export function addKeep(command: Command): Command {
  return command.option(
    "--keep <share>",
    "of a model made with gblr convert --sizes: cut it to this share of the linear parameters",
    share,
  );
}

export const MODEL_ARGUMENT =
  "model folder, .gguf file, owner/name[@revision] on the Hub, or a zoo model such as zoo:gpt2-gaudi";
export const OFFLINE = "use cached files only, never the network";
export const JSON_DOCUMENT = "print one JSON document on stdout instead of text";
export const FORCE = "replace an existing model in the folder";

/** The options that `addInferenceOptions` adds. */
export interface InferenceFlags extends OpenEngineOptions {
  form?: FormName | "auto" | "measure";
}

/** Picks the engine options from all options of a verb. */
function engineOptionsOf({ engine, device, precision, threads }: OpenEngineOptions): OpenEngineOptions {
  return {
    ...(engine !== undefined && { engine }),
    ...(device !== undefined && { device }),
    ...(precision !== undefined && { precision }),
    ...(threads !== undefined && { threads }),
  };
}

/**
 * Opens the requested engine, or the best one of this machine.
 * @throws UsageError for options that no machine supports, EngineError for those that this machine does not
 */
export async function openEngineFor({ form = "auto", ...options }: InferenceFlags): Promise<Engine> {
  const asked = engineOptionsOf(options);
  checkEngineUsage(asked);
  formChoices.pinned = FORM_NAMES.find((name) => name === form);
  formChoices.measuresAgain = form === "measure";
  formChoices.keepIn(process.env);
  return openEngine(asked);
}

/** Checks the engine options. @throws UsageError for options that no machine supports */
export function checkEngineUsage(options: OpenEngineOptions): void {
  try {
    resolveOptions(options);
  } catch (error) {
    throw error instanceof EngineError ? new UsageError(error.message) : error;
  }
}

/** Parser of a whole number that is at least `least`. */
export const countFrom =
  (least: number) =>
  (text: string): number => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least}.`);
  };

/** Parser of a finite number that is at least `least`. */
export const numberFrom =
  (least: number) =>
  (text: string): number => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a number from ${least}.`);
  };

/** Parser of a share: above 0 and at most 1. */
export function share(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError("It must be above 0 and at most 1, e.g. 0.35.");
}

/** Parses a list of numbers above 0, without repetitions. @param flag e.g. `quanta` @throws UsageError for anything else */
export function numbersIn(flag: string, list: string): number[] {
  const values = list.split(",").map((value) => (value.trim() === "" ? Number.NaN : Number(value)));
  if (values.every((value) => value > 0 && Number.isFinite(value))) return [...new Set(values)];
  throw new UsageError(`--${flag} ${list}: give numbers above 0, e.g. --${flag} 8,16`);
}

/** The settings that --seeds and --calibration-seeds vary. @throws UsageError for lists that are not of whole numbers */
export function repetitionsOf(flags: { seeds?: string; calibrationSeeds?: string }): Varied[] {
  const lists = { seed: flags.seeds, "calibration-seed": flags.calibrationSeeds };
  return Object.entries(lists).flatMap(([setting, list]) => (list === undefined ? [] : [seedsIn(setting, list)]));
}

function seedsIn(setting: string, list: string): Varied {
  const values = list.split(",").map((value) => value.trim());
  if (values.every((value) => /^\d+$/.test(value)) && new Set(values).size === values.length) {
    return { setting, values };
  }
  throw new UsageError(`--${setting}s ${list}: give different whole numbers, e.g. --${setting}s 0,1,2`);
}

/** Parses a value of --vary, e.g. `budget=0.125,0.2`. @throws UsageError if it does not have this form */
export function parseVaried(text: string): Varied {
  const at = text.indexOf("=");
  const setting = flagOf(text.slice(0, Math.max(0, at)).trim().replace(/^--/, "")).slice(2);
  const values = text
    .slice(at + 1)
    .split(",")
    .map((value) => value.trim());
  if (at < 1 || setting === "" || values.some((value) => value === "")) {
    throw new UsageError(`--vary ${text}: give a setting and its values, e.g. --vary budget=0.125,0.2`);
  }
  const twice = values.find((value, i) => values.indexOf(value) !== i);
  if (twice !== undefined) throw new UsageError(`--vary ${text}: ${twice} is given twice; give each value once`);
  if (setting === "run") {
    throw new UsageError("--vary run: the folder of each run is chosen by the sweep; give --out instead");
  }
  return { setting, values };
}
