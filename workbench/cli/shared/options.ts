// Options that several verbs have: those that choose an engine, with their checks, and parsers of numbers.

import { type Command, InvalidArgumentError, Option } from "commander";
import { EngineError } from "../../engine/core/errors.ts";
import { openEngine } from "../../engine/core/open.ts";
import { resolveOptions } from "../../engine/core/options.ts";
import { ENGINE_NAMES, type Engine, type OpenEngineOptions, PRECISIONS } from "../../engine/core/types.ts";
import { UsageError } from "./program.ts";

/** Adds --engine, --device, --precision and --threads. */
export function addEngineOptions(command: Command, engine = "what computes (default: auto)"): Command {
  return command
    .addOption(new Option("--engine <name>", engine).choices(["auto", ...ENGINE_NAMES]))
    .option("--device <device>", "cpu, cuda, cuda:1, gpu (default: the best there is)")
    .addOption(new Option("--precision <precision>", "how products compute (default: float32)").choices(PRECISIONS))
    .option("--threads <count>", "CPU threads (default: what the machine has)", countFrom(1));
}

/** The engine options among all options of a verb. */
function engineOptionsOf({ engine, device, precision, threads }: OpenEngineOptions): OpenEngineOptions {
  return {
    ...(engine !== undefined && { engine }),
    ...(device !== undefined && { device }),
    ...(precision !== undefined && { precision }),
    ...(threads !== undefined && { threads }),
  };
}

/**
 * Opens the engine that was asked for, or the best one of this machine.
 * @throws UsageError for options that no machine could meet, EngineError for those that this machine cannot
 */
export async function openEngineFor(options: OpenEngineOptions): Promise<Engine> {
  const asked = engineOptionsOf(options);
  checkEngineUsage(asked);
  return openEngine(asked);
}

/** @throws UsageError for options that no machine could meet */
export function checkEngineUsage(options: OpenEngineOptions): void {
  try {
    resolveOptions(options);
  } catch (error) {
    throw error instanceof EngineError ? new UsageError(error.message) : error;
  }
}

/** A whole number. */
export const countFrom =
  (least: number) =>
  (text: string): number => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least}.`);
  };

/** Any finite number. */
export const numberFrom =
  (least: number) =>
  (text: string): number => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a number from ${least}.`);
  };

/** Above 0 and at most 1. */
export function share(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError("It must be above 0 and at most 1, e.g. 0.35.");
}
