// `gblr doctor`: shows which engines work on this machine, their speed, how to install missing ones, and how many forms
// of layers were measured. It changes nothing and does not use the network. doctor/collect.ts collects the report,
// doctor/tables.ts prints it.

import process from "node:process";
import type { Command } from "commander";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import { collectReport } from "./doctor/collect.ts";
import { printReport } from "./doctor/tables.ts";
import { addEngineOptions, checkEngineUsage, JSON_DOCUMENT } from "./shared/options.ts";
import { CommandFailed, verb } from "./shared/program.ts";
import { progressLine } from "./shared/progress.ts";
import { paletteFor } from "./shared/terminal.ts";

interface DoctorOptions extends OpenEngineOptions {
  json?: boolean;
  quick?: boolean;
  distributed?: boolean;
}

export function addDoctor(program: Command): void {
  const command = verb(program, {
    name: "doctor",
    summary: "show which engines work on this machine, their speed, and how to install missing ones",
    example: "gblr doctor\ngblr doctor --engine torch --device cuda --precision bfloat16\ngblr doctor --json",
  });
  addEngineOptions(command, "engine to measure; fails if it does not work (default: all)")
    .option("--quick", "measure on smaller sizes, which is faster and less accurate")
    .option("--distributed", "also let two processes exchange an array, or those that torchrun or srun has started")
    .option("--json", JSON_DOCUMENT)
    .action(doctor);
}

async function doctor({
  json = false,
  quick = false,
  distributed = false,
  ...requested
}: DoctorOptions): Promise<void> {
  checkEngineUsage(requested);
  const progress = progressLine();
  const report = await collectReport({
    requested,
    quick,
    distributed,
    environment: process.env,
    onStep: (step) => progress.show(`${step} …`),
  });
  progress.clear();
  const text = json ? JSON.stringify(report, null, 2) : printReport(report, paletteFor(process.stdout, process.env));
  process.stdout.write(`${text}\n`);
  if ("error" in report.opened) throw new CommandFailed(report.opened.error);
  if (report.distributed && "error" in report.distributed) throw new CommandFailed(report.distributed.error);
}
