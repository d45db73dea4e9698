// `gblr sweep`: a recipe at every combination of some of its settings' values, one table and one plot of it all. The runs
// are the recipe's; here are the options, what is shown, and the files of the whole.

import { join } from "node:path";
import process from "node:process";
import type { Command } from "commander";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import {
  gridOf,
  parseVaried,
  pointText,
  recipeFile,
  type SweepEvent,
  type SweepRun,
  sweep,
  type Varied,
} from "../pipeline/sweep.ts";
import { acrossSeeds, costChart } from "../pipeline/sweep-results.ts";
import { chartToFiles } from "../report/index.ts";
import { CommandFailed, Interrupted, interruptible, verb } from "./shared/program.ts";
import { progressLine } from "./shared/progress.ts";
import { type Palette, paletteFor } from "./shared/terminal.ts";
import { resultLines, resultsOf, type SweepResult } from "./sweep/results.ts";

interface SweepFlags {
  vary: Varied[];
  out?: string;
  json?: boolean;
}

const DESCRIPTION = `
Runs a recipe once for each combination of values, each in a process and a
folder of its own. The same command again goes on: what is finished is not run
again. What stands after -- is given to every run.

With --vary seed=1,2,3 the table and the plot have the mean of the seeds' runs
and their standard deviation; results.json has each run.
`.trim();

export function addSweep(program: Command): void {
  verb(program, {
    name: "sweep",
    summary: "run a recipe over a grid of settings",
    example: [
      "gblr sweep vit-b-imagenet --vary budget=0.125,0.15,0.175,0.2 --vary structure=gblr,lowrank -- --init svd",
      "gblr sweep recipes/gpt2-wt103.ts --vary flops=0.35,0.4375,0.525 --out runs/flops -- --epochs 2",
      "gblr sweep vit-s-cifar10 --vary structure=gblr,lowrank --vary seed=1,2,3",
    ].join("\n"),
  })
    .description(DESCRIPTION)
    .summary("run a recipe over a grid of settings")
    .argument("<recipe>", "name of a recipe of this package, or the path of one")
    .argument("[flags...]", "after --: flags of every run")
    .requiredOption("--vary <setting=values>", "a setting and its values, e.g. budget=0.125,0.2; repeatable", collected)
    .option("--out <folder>", "of the runs, the table and the plot (default: runs/sweep-<recipe>)")
    .option("--json", "one JSON document on stdout")
    .action(runSweep);
}

const collected = (text: string, before: Varied[] = []): Varied[] => [...before, parseVaried(text)];

async function runSweep(name: string, flags: string[], { vary, out, json = false }: SweepFlags): Promise<void> {
  const recipe = await recipeFile(name);
  const points = gridOf(vary);
  const folder = out ?? `runs/sweep-${recipe.name}`;
  const palette = paletteFor(process.stdout, process.env);
  const message = `interrupted; ${folder} keeps what is done: run the same command again to go on`;
  const progress = progressLine();
  const runs = await interruptible(message, async (signal) => {
    for await (const event of sweep({ recipe, points, flags, folder, signal })) {
      if (event.kind === "said") progress.show(`  ${event.line}`);
      else progress.clear();
      if (!json) show(event, palette);
      if (event.kind !== "swept") continue;
      if (event.interrupted) throw new Interrupted(message);
      return event.runs;
    }
    throw new CommandFailed("the sweep ended early");
  });
  const results = resultsOf(runs);
  const means = acrossSeeds(results);
  const files = await write(folder, recipe.name, results);
  if (json)
    process.stdout.write(
      `${JSON.stringify({ recipe: recipe.name, folder, files, runs: told(runs), results, means }, null, 2)}\n`,
    );
  else
    process.stdout.write(
      `${["", ...resultLines(results, palette), "", ...files.map((file) => `  ${file}`)].join("\n")}\n`,
    );
  expectAll(runs);
}

function show(event: SweepEvent, palette: Palette): void {
  if (event.kind === "begun") {
    const { index, of, point } = event;
    process.stdout.write(palette.dim(`${index + 1} of ${of}: ${pointText(point)} …\n`));
  } else if (event.kind === "ended") {
    const { run, before } = event;
    const how = before ? "done before" : run.status === "failed" ? `failed: ${run.error}` : run.status;
    process.stdout.write(`  ${how}${run.status === "finished" ? `, ${run.folder}/report.html` : ""}\n`);
  }
}

/** results.json, and where there is something to plot its three files. */
async function write(folder: string, recipe: string, results: readonly SweepResult[]): Promise<string[]> {
  const table = join(folder, "results.json");
  await writeFileAtomically(table, `${JSON.stringify(results, null, 2)}\n`);
  const chart = costChart(recipe, results);
  return [table, ...(chart ? await chartToFiles(chart, join(folder, "cost")) : [])];
}

const told = (runs: readonly SweepRun[]) =>
  runs.map(({ point, folder, status, error }) => ({ values: point.values, folder, status, ...(error && { error }) }));

/** @throws CommandFailed naming the runs that failed */
function expectAll(runs: readonly SweepRun[]): void {
  const failed = runs.filter(({ status }) => status !== "finished");
  if (failed.length === 0) return;
  const each = failed.map(({ point, status, error }) => `${pointText(point)}: ${error ?? status}`);
  throw new CommandFailed(`${failed.length} of ${runs.length} runs failed; ${each.join("; ")}`);
}
