// `bun bench/engine.ts`: compares our engines with PyTorch and OpenBLAS on the same cases, in one interleaved run. The
// cases are in engine/cases.ts, the contestants in engine/contestants.ts, the procedure in engine/run.ts.

import { mkdir, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { Command, InvalidArgumentError, Option } from "commander";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { PRECISIONS, type Precision } from "../workbench/engine/core/types.ts";
import { CASES } from "./engine/cases.ts";
import { findContestants } from "./engine/contestants.ts";
import { type BenchReport, markdown } from "./engine/report.ts";
import { countFaults, FULL, QUICK, runCase, startAll } from "./engine/run.ts";

interface Options {
  device: string;
  precision: Precision;
  threads: number;
  python?: string;
  only?: string;
  quick?: boolean;
  json?: boolean;
  out?: string | true;
}

const FAULT_STEPS = 20;
/** Contestants whose minor page faults are counted: our torch engine and PyTorch. */
const FAULT_CONTESTANTS = ["torch", "PyTorch"];

const command = new Command("bun bench/engine.ts")
  .description("compares our engines with PyTorch and OpenBLAS on this machine")
  .option("--device <device>", "where torch and PyTorch compute: cpu, cuda", "cpu")
  .addOption(new Option("--precision <precision>", "of torch and PyTorch").choices(PRECISIONS).default("float32"))
  .option("--threads <count>", "CPU threads of each", parseThreads, os.availableParallelism())
  .option("--python <path>", "the Python whose PyTorch runs (default: the first python3 that has it)")
  .option("--only <text>", "cases whose title contains this")
  .option("--quick", "few short samples: rough figures, sooner")
  .option("--json", "one JSON document on stdout")
  .option("--out [file]", "also write the page (default: bench/results/engine-<cpu>.md)")
  .addHelpText("after", "\nExample:\n  bun bench/engine.ts --quick --only product")
  .parse();

const options = command.opts<Options>();
const report = await bench(options);
process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : markdown(report)}\n`);
if (options.out !== undefined) await write(options.out, report);

async function bench({ device, precision, threads, python, only = "", quick = false }: Options): Promise<BenchReport> {
  const chosen = CASES.filter(({ title }) => title.includes(only));
  if (chosen.length === 0) command.error(`no case has "${only}" in its title; there is: ${titles()}`, { exitCode: 2 });
  const effort = quick ? QUICK : FULL;
  const contestants = findContestants({ device, precision, threads, ...(python === undefined ? {} : { python }) });
  const date = new Date().toISOString();
  const { running, abouts, absent } = await startAll(contestants);
  const cases: BenchReport["cases"] = [];
  for (const named of chosen) {
    progress(named.title);
    cases.push(await runCase(named, running, effort));
  }
  const waiting = Object.fromEntries(running.map((each) => [each.contestant.name, each.waiting]));
  await Promise.all(running.map((each) => each.close()));
  progress("page faults");
  const counted = contestants.filter(({ name }) => FAULT_CONTESTANTS.includes(name) && name in abouts);
  const faults = await countFaults(counted, FAULT_STEPS);
  progress("");
  const setting = { device, precision, threads, rounds: effort.rounds };
  return { date, machine: inspectMachine(), setting, contestants: abouts, absent, waiting, cases, faults };
}

function titles(): string {
  return CASES.map(({ title }) => title).join("; ");
}

async function write(out: string | true, report: BenchReport): Promise<void> {
  const { device, precision } = report.setting;
  const computing = device === "cpu" ? report.machine.cpu : (report.contestants.torch?.device ?? device);
  const variant = precision === "float32" ? "" : `-${precision}`;
  const name = `engine-${slug(computing)}${variant}.md`;
  const file = out === true ? path.join(import.meta.dirname, "results", name) : out;
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `${markdown(report)}\n`);
  process.stderr.write(`written to ${file}\n`);
}

function slug(text: string): string {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? ["unknown"];
  return words.join("-");
}

function progress(step: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${step}`);
}

function parseThreads(text: string): number {
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 1) throw new InvalidArgumentError("It must be a whole number from 1.");
  return threads;
}
