// `gblr doctor`: what this machine computes on, how fast, and what is missing. Changes nothing and asks nothing of the
// network. The facts are gathered in doctor/collect.ts and printed by doctor/print.ts.

import process from "node:process";
import { type Command, InvalidArgumentError, Option } from "commander";
import { EngineError } from "../engine/errors.ts";
import { resolveOptions } from "../engine/options.ts";
import { ENGINE_NAMES, type OpenEngineOptions, PRECISIONS } from "../engine/types.ts";
import { collectReport } from "./doctor/collect.ts";
import { printReport } from "./doctor/print.ts";
import { CommandFailed, UsageError, verb } from "./program.ts";
import { progressLine } from "./progress.ts";
import { paletteFor } from "./terminal.ts";

interface DoctorOptions extends OpenEngineOptions {
  json?: boolean;
  quick?: boolean;
}

export function addDoctor(program: Command): void {
  verb(program, {
    name: "doctor",
    summary: "show the engines of this machine, how fast they are, and what is missing",
    example: "gblr doctor\ngblr doctor --engine torch --device cuda --precision bfloat16\ngblr doctor --json",
  })
    .addOption(
      new Option("--engine <name>", "measure this engine only, and fail without it").choices(["auto", ...ENGINE_NAMES]),
    )
    .option("--device <device>", "cpu, cuda, cuda:1, gpu (default: the best there is)")
    .addOption(new Option("--precision <precision>", "how products compute (default: float32)").choices(PRECISIONS))
    .option("--threads <count>", "CPU threads (default: what the machine has)", parseThreads)
    .option("--quick", "smaller sizes, rougher figures")
    .option("--json", "one JSON document on stdout")
    .action(doctor);
}

async function doctor({ json = false, quick = false, ...requested }: DoctorOptions): Promise<void> {
  checkUsage(requested);
  const progress = progressLine();
  const report = await collectReport({
    requested,
    quick,
    environment: process.env,
    onStep: (step) => progress.show(`${step} …`),
  });
  progress.clear();
  const text = json ? JSON.stringify(report, null, 2) : printReport(report, paletteFor(process.stdout, process.env));
  process.stdout.write(`${text}\n`);
  if ("error" in report.opened) throw new CommandFailed(report.opened.error);
}

/** What no machine could give is bad usage; what this one cannot is a failure. */
function checkUsage(requested: OpenEngineOptions): void {
  try {
    resolveOptions(requested);
  } catch (error) {
    throw error instanceof EngineError ? new UsageError(error.message) : error;
  }
}

function parseThreads(text: string): number {
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 1) throw new InvalidArgumentError("It must be a whole number from 1.");
  return threads;
}
