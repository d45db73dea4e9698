// `gblr sweep`: runs a recipe over a grid of settings and shows all results in one table and one plot. The work is done
// in pipeline/sweep.ts; this file has the options and the table.

import { readdir, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { MODULE_EXTENSION } from "../../hub/files/about.ts";
import { placeOf } from "../distributed/place.ts";
import { acrossSeeds, resultsOf, writeSweepResults } from "../pipeline/results/sweep-results.ts";
import {
  gridOf,
  pointText,
  type RecipeFile,
  type SweepEvent,
  type SweepRun,
  sweep,
  type Varied,
} from "../pipeline/sweep.ts";
import { JSON_DOCUMENT, parseVaried, repetitionsOf } from "./shared/options.ts";
import { CommandFailed, Interrupted, interruptible, UsageError, verb } from "./shared/program.ts";
import { progressLine } from "./shared/progress.ts";
import { type Palette, paletteFor } from "./shared/terminal.ts";
import { commandLine } from "./shared/versions.ts";
import { sweepTable } from "./shared/view.ts";

interface SweepFlags {
  vary?: Varied[];
  seeds?: string;
  calibrationSeeds?: string;
  out?: string;
  json?: boolean;
}

const DESCRIPTION = `
Runs a recipe once for each combination of values, each run in its own process
and folder. To resume a sweep, give the same command again: finished runs are
not repeated. Flags after -- are passed to every run.

Several processes can work on a sweep, such as one for each GPU: start the same
command several times, or with torchrun or srun. Each run has one process.

With --seeds or --calibration-seeds the table and the plot show the mean and the
standard deviation over the runs; results.json has every run. Each calibration
seed draws different training data to calibrate on. If both are given, each pair
of seeds is run.
`.trim();

export function addSweep(program: Command): void {
  verb(program, {
    name: "sweep",
    summary: "run a recipe over a grid of settings",
    example: [
      "gblr sweep vit-b-imagenet --vary budget=0.125,0.15,0.175,0.2 --vary structure=gblr,lowrank -- --init svd",
      "gblr sweep recipes/gpt2-wt103.ts --vary flops=0.35,0.4375,0.525 --out runs/flops -- --epochs 2",
      "gblr sweep vit-s-cifar10 --vary structure=gblr,lowrank --seeds 1,2,3",
      "gblr sweep smollm2-wikitext --calibration-seeds 0,1,2 -- --fine-tune none",
    ].join("\n"),
  })
    .description(DESCRIPTION)
    .summary("run a recipe over a grid of settings")
    .argument("<recipe>", "name of a recipe in recipes/, or path of a recipe file")
    .argument("[flags...]", "flags for every run, after --")
    .option(
      "--vary <setting=values>",
      "setting and its values, e.g. budget=0.125,0.2; can be given several times",
      collected,
    )
    .option(
      "--seeds <list>",
      "random seeds with which every run is repeated, e.g. 0,1,2; the same as --vary seed=0,1,2",
    )
    .option(
      "--calibration-seeds <list>",
      "seeds for drawing the calibration data, with which every run is repeated, e.g. 0,1,2",
    )
    .option("--out <folder>", "folder for the runs, the table and the plot (default: runs/sweep-<recipe>)")
    .option("--json", JSON_DOCUMENT)
    .action(runSweep);
}

const collected = (text: string, before: Varied[] = []): Varied[] => [...before, parseVaried(text)];

async function runSweep(name: string, flags: string[], given: SweepFlags): Promise<void> {
  const { out, json = false } = given;
  const recipe = await recipeFile(name);
  const varied = [...(given.vary ?? []), ...repetitionsOf(given)];
  if (varied.length === 0) throw new UsageError("nothing varies; give --vary, --seeds or --calibration-seeds");
  const points = gridOf(varied);
  const folder = out ?? `runs/sweep-${recipe.name}`;
  const palette = paletteFor(process.stdout, process.env);
  const message = `interrupted; the finished runs are in ${folder}: run the same command again to resume`;
  const progress = progressLine();
  const place = placeOf(process.env);
  // Only the first of several processes prints and writes the table.
  const isQuiet = place !== undefined && place.rank > 0;
  const runs = await interruptible(message, async (signal) => {
    for await (const event of sweep({ recipe, points, flags, folder, place, signal })) {
      if (!isQuiet) {
        if (event.kind === "said") progress.show(`  ${event.line}`);
        else progress.clear();
        if (!json) show(event, palette);
      }
      if (event.kind !== "swept") continue;
      if (event.interrupted) throw new Interrupted(message);
      return event.runs;
    }
    throw new CommandFailed("the sweep ended early");
  });
  if (isQuiet) return;
  const results = resultsOf(runs);
  const means = acrossSeeds(results);
  const files = await writeSweepResults(folder, { recipe: recipe.name, command: commandLine(), runs, results });
  if (json)
    process.stdout.write(
      `${JSON.stringify({ recipe: recipe.name, folder, files, runs: told(runs), results, means }, null, 2)}\n`,
    );
  else
    process.stdout.write(
      `${["", ...sweepTable(means, palette), "", ...files.map((file) => `  ${file}`)].join("\n")}\n`,
    );
  expectAll(runs);
}

function show(event: SweepEvent, palette: Palette): void {
  if (event.kind === "begun") {
    const { index, of, point } = event;
    process.stdout.write(palette.dim(`${index + 1} of ${of}: ${pointText(point)} …\n`));
  } else if (event.kind === "waits") {
    process.stdout.write(palette.dim(`another process runs ${pointText(event.point)}; waiting for it …\n`));
  } else if (event.kind === "ended") {
    const { run, before } = event;
    const how = before ? "already done" : run.status === "failed" ? `failed: ${run.error}` : run.status;
    process.stdout.write(`  ${how}${run.status === "finished" ? `, ${run.folder}/report.html` : ""}\n`);
  }
}

const told = (runs: readonly SweepRun[]) =>
  runs.map(({ point, folder, status, error }) => ({ values: point.values, folder, status, ...(error && { error }) }));

/** Checks that all runs have finished. @throws CommandFailed that names the other runs */
function expectAll(runs: readonly SweepRun[]): void {
  const failed = runs.filter(({ status }) => status !== "finished");
  if (failed.length === 0) return;
  const each = failed.map(({ point, status, error }) => `${pointText(point)}: ${error ?? status}`);
  throw new CommandFailed(`${failed.length} of ${runs.length} runs failed; ${each.join("; ")}`);
}

const RECIPES = fileURLToPath(new URL("../../recipes/", import.meta.url));

/** Finds a recipe by its name or path. @throws UsageError with the known names if there is none */
async function recipeFile(text: string): Promise<RecipeFile> {
  const name = basename(text).replace(/\.[jt]s$/, "");
  const path = name === text ? resolve(RECIPES, `${name}${MODULE_EXTENSION}`) : resolve(text);
  if ((await stat(path).catch(() => undefined))?.isFile()) return { name, path };
  const files = (await readdir(RECIPES)).filter((file) => file.endsWith(MODULE_EXTENSION));
  const known = files.map((file) => file.slice(0, -MODULE_EXTENSION.length)).sort();
  throw new UsageError(`there is no recipe "${text}"; give one of ${known.join(", ")}, or the path of a recipe file`);
}
