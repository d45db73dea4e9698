// The options that choose an engine, for every verb that computes: flags, checks, and opening it.

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

/** The same options by name, out of all that a verb was given. */
function engineOptionsOf({ engine, device, precision, threads }: OpenEngineOptions): OpenEngineOptions {
  return {
    ...(engine !== undefined && { engine }),
    ...(device !== undefined && { device }),
    ...(precision !== undefined && { precision }),
    ...(threads !== undefined && { threads }),
  };
}

/**
 * Opens what was asked for, or the best engine of this machine.
 * @throws UsageError for what no machine could give, EngineError for what this one cannot
 */
export async function openEngineFor(options: OpenEngineOptions): Promise<Engine> {
  const asked = engineOptionsOf(options);
  checkEngineUsage(asked);
  return openEngine(asked);
}

/** What no machine could give is bad usage; what this one cannot is a failure. */
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
