// `gblr sweep`: runs a recipe at every combination of some settings' values, with one table and one plot of all
// results. The work is in pipeline/sweep.ts; this file has the options and the table.

import { readdir, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { metricNamed, metricsOf, valueText } from "../../hub/card/metric-names.ts";
import { percent } from "../../hub/text/numbers.ts";
import {
  gridOf,
  pointText,
  type RecipeFile,
  type SweepEvent,
  type SweepRun,
  sweep,
  type Varied,
} from "../pipeline/sweep.ts";
import {
  acrossSeeds,
  type RepeatedResult,
  resultsOf,
  type SweepResult,
  writeResults,
} from "../pipeline/sweep-results.ts";
import { CommandFailed, Interrupted, interruptible, UsageError, verb } from "./shared/program.ts";
import { progressLine } from "./shared/progress.ts";
import { flagOf } from "./shared/settings.ts";
import { type Cell, formatBytes, type Palette, paletteFor, table, threeDigits } from "./shared/terminal.ts";
import { RELATIVE_FLOPS, twoLines } from "./shared/view.ts";

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
  const files = await writeResults(folder, recipe.name, results);
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

const told = (runs: readonly SweepRun[]) =>
  runs.map(({ point, folder, status, error }) => ({ values: point.values, folder, status, ...(error && { error }) }));

/** @throws CommandFailed naming the runs that failed */
function expectAll(runs: readonly SweepRun[]): void {
  const failed = runs.filter(({ status }) => status !== "finished");
  if (failed.length === 0) return;
  const each = failed.map(({ point, status, error }) => `${pointText(point)}: ${error ?? status}`);
  throw new CommandFailed(`${failed.length} of ${runs.length} runs failed; ${each.join("; ")}`);
}

const RECIPES = fileURLToPath(new URL("../../recipes/", import.meta.url));

/** @throws UsageError with the known names */
async function recipeFile(text: string): Promise<RecipeFile> {
  const name = basename(text).replace(/\.ts$/, "");
  const path = name === text ? resolve(RECIPES, `${name}.ts`) : resolve(text);
  if ((await stat(path).catch(() => undefined))?.isFile()) return { name, path };
  const files = (await readdir(RECIPES)).filter((file) => file.endsWith(".ts"));
  const known = files.map((file) => file.slice(0, -3)).sort();
  throw new UsageError(`there is no recipe "${text}": there is ${known.join(", ")}, or give the path of a file`);
}

/** @param text e.g. `budget=0.125,0.2` @throws UsageError when it is not in this form */
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
  if (twice !== undefined) throw new UsageError(`--vary ${text}: ${twice} is there twice`);
  if (setting === "run") throw new UsageError("--vary run: each run of a sweep has a folder of its own below --out");
  return { setting, values };
}

/** Lines of the table, for a terminal. */
export function resultLines(all: readonly SweepResult[], palette: Palette): string[] {
  const results = acrossSeeds(all);
  const repeated = results.some(({ runs }) => runs > 1);
  const settings = [...new Set(results.flatMap(({ values }) => Object.keys(values)))];
  const metrics = metricsOf(results);
  const right = (text: string): Cell => ({ text, align: "right" });
  const labels = metrics.map((name) => metricNamed(name).label);
  const heading = [
    ...settings,
    "model",
    ...(repeated ? ["runs"] : []),
    ...labels,
    ...RELATIVE_FLOPS,
    "file",
    "seconds",
  ];
  const body = results.map((row): Cell[] => [
    ...settings.map((name) => ({ text: row.values[name] ?? "" })),
    { text: row.name },
    ...(repeated ? [right(String(row.runs))] : []),
    ...metrics.map((name) => right(metricText(name, row))),
    right(row.relativeFlops ? percent(row.relativeFlops.reference) : ""),
    right(row.relativeFlops ? percent(row.relativeFlops.actual) : ""),
    right(row.fileBytes === undefined ? "" : formatBytes(row.fileBytes)),
    right(row.seconds === undefined ? "" : threeDigits(row.seconds)),
  ]);
  const head = twoLines(heading).map((line) =>
    line.map((text, i): Cell => ({ text, paint: palette.dim, align: i <= settings.length ? "left" : "right" })),
  );
  return table([...head, ...body]);
}

/** `54.05 % ± 0.42 %` for several runs. */
function metricText(name: string, { metrics, spread }: RepeatedResult): string {
  const value = metrics[name];
  if (value === undefined) return "";
  return spread ? `${valueText(name, value)} ± ${valueText(name, spread[name] as number)}` : valueText(name, value);
}
