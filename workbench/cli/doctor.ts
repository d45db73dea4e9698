// `gblr doctor`: shows the engines of this machine, their speed, and what is missing. Changes nothing and does not use
// the network. The facts are gathered in doctor/collect.ts and printed by doctor/tables.ts.

import process from "node:process";
import type { Command } from "commander";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import { collectReport } from "./doctor/collect.ts";
import { printReport } from "./doctor/tables.ts";
import { addEngineOptions, checkEngineUsage } from "./shared/options.ts";
import { CommandFailed, verb } from "./shared/program.ts";
import { progressLine } from "./shared/progress.ts";
import { paletteFor } from "./shared/terminal.ts";

interface DoctorOptions extends OpenEngineOptions {
  json?: boolean;
  quick?: boolean;
}

export function addDoctor(program: Command): void {
  const command = verb(program, {
    name: "doctor",
    summary: "show the engines of this machine, how fast they are, and what is missing",
    example: "gblr doctor\ngblr doctor --engine torch --device cuda --precision bfloat16\ngblr doctor --json",
  });
  addEngineOptions(command, "measure this engine only, and fail without it")
    .option("--quick", "smaller sizes, rougher figures")
    .option("--json", "one JSON document on stdout")
    .action(doctor);
}

async function doctor({ json = false, quick = false, ...requested }: DoctorOptions): Promise<void> {
  checkEngineUsage(requested);
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
