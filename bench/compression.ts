// `bun bench/compression.ts RUN --out FILE`: writes the page of a table of compression methods, such as one that
// recipes/smollm2-table.ts makes: a table for each budget, the recovery, the best of each structure with the goals of the
// project, errors by layer, and two pictures. Everything is read from the run; the tables are those of `gblr compare`. What
// is to be said of the run stands in its folder too: in notes.md how it was made, in goals.md what was tried for the goals.

import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { Command } from "commander";
import { formatBytes } from "../hub/text/numbers.ts";
import { compareResults } from "../workbench/report/compare/compare.ts";
import { compareLayers, layerChart, layerTable } from "../workbench/report/compare/layers.ts";
import { type CompareTable, compareTable, markdownTable } from "../workbench/report/compare/table.ts";
import { type Chart, chartToFiles } from "../workbench/report/index.ts";
import type { Results } from "../workbench/report/results.ts";
import { readResults } from "../workbench/report/results-file.ts";
import {
  bestChart,
  bestOf,
  budgetsOf,
  goalLines,
  layerGoalLines,
  layerPairs,
  reorderPairs,
  titled,
} from "./compression/best.ts";

const command = new Command("bun bench/compression.ts")
  .description("writes a page about a run of recipes/smollm2-table.ts, which may still be running")
  .argument("<run>", "run folder")
  .requiredOption("--out <path>", "page and pictures, without ending, e.g. bench/results/smollm2-compression-amd-epyc")
  .option("--title <text>", "heading of the page", "SmolLM2-135M-Instruct by every method")
  .addHelpText(
    "after",
    "\nExample:\n  bun bench/compression.ts runs/smollm2-table-gblr --out bench/results/smollm2-compression-amd-epyc",
  )
  .parse();

/** How the rows are called by their authors. */
const NAMES = `"low rank" is SVD; "low rank, activation-aware" is SVD-LLM with whitening only, and "sequential" adds its update: each
layer is fitted to the inputs that the compressed layers before it cause. "global" and "by loss" are learned ranks. Monarch,
block low rank, BTT and BLAST are refitted to outputs as GBLR is.`;

const { out, title } = command.opts<{ out: string; title: string }>();
const [folder] = command.args as [string];
const { results } = await readResults(folder);
const before = await compareResults([folder], { stage: "before" });
const after = await compareResults([folder]);
const trained = new Set(after.groups.flatMap(({ first }) => (first.stage === "after" ? [first.variant] : [])));
const recovery = after.groups.filter(({ first }) => trained.has(first.variant));
const layers = await compareLayers(layerPairs(folder, before.groups));
const orders = await compareLayers(reorderPairs(folder, before.groups));
const best = bestOf(before.groups);
const chart = bestChart(best, before.groups);
const [made, tried] = await Promise.all(["notes.md", "goals.md"].map(remarks));

const files = [
  ...(chart ? [await picture(chart, out)] : []),
  ...(layers.length > 0 ? [await picture(layerChart(layers), `${out}-layers`)] : []),
];
await writeFile(`${out}.md`, `${[...page()].join("\n\n")}\n`);
process.stdout.write(`${[`${out}.md`, ...files].map((file) => `  ${file}`).join("\n")}\n`);

/** The text of a file of the run folder, which need not exist. */
async function remarks(name: string): Promise<string | undefined> {
  const text = await readFile(path.join(folder, name), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  return text?.trim();
}

function* page(): Generator<string> {
  yield `# ${title}`;
  yield facts(results);
  if (made) yield made;
  yield NAMES;
  for (const budget of budgetsOf(before.groups)) {
    const groups = before.groups.filter(({ first }) => first.method === undefined || first.budget?.budget === budget);
    yield `## ${Number((100 * (1 - budget)).toPrecision(3))} % fewer parameters`;
    yield markdownTable(withoutStages(compareTable(groups.map(titled), before.metrics)));
  }
  if (recovery.length > 0) {
    const { lora, steps, batch, context, learningRate } = results.settings;
    yield "## Recovery";
    yield `The same for each: LoRA of rank ${lora}, ${steps} steps of ${batch} × ${context} tokens, learning rate ${learningRate}.`;
    yield markdownTable(compareTable(recovery, before.metrics));
  }
  yield "## The best of each structure";
  if (chart) yield `![${chart.description}](${path.basename(out)}.png)`;
  const goals = [...goalLines(best), ...layerGoalLines(layers)];
  if (goals.length > 0) yield goals.map((line) => `- ${line}`).join("\n");
  if (tried) yield tried;
  if (layers.length > 0) {
    yield "## Output errors by layer";
    yield "Relative to whitened low rank of the same cost, both with the inputs of the dense model. Layers of one kind stand together; ratios are of single layers.";
    yield markdownTable(layerTable(layers));
    yield `![Output errors of the layers, by kind](${path.basename(out)}-layers.png)`;
  }
  if (orders.length > 0) {
    yield "## What the order of units gains";
    yield "Output errors relative to those of the same search with the units as they are in the model. Hidden units of MLPs move, so that only layers beside them differ.";
    yield markdownTable(layerTable(orders));
  }
  if (before.notes.length > 0) yield before.notes.map((note) => `- ${withoutFolders(note)}`).join("\n");
  yield [
    "```sh",
    withoutFolders(results.command),
    `bun bench/compression.ts ${path.basename(folder)} --out ${path.basename(out)}`,
    "```",
  ].join("\n");
}

/** A table all of whose rows are of one stage. */
function withoutStages({ texts, headings, rows }: CompareTable): CompareTable {
  const at = headings.indexOf("fine-tuning");
  if (at < 0) return { texts, headings, rows };
  return { texts: texts - 1, headings: headings.toSpliced(at, 1), rows: rows.map((row) => row.toSpliced(at, 1)) };
}

/** Paths without the folders of this machine. */
function withoutFolders(text: string): string {
  return text.replace(/(^|[\s='"])\/\S*\/(?=[^\s/])/g, "$1");
}

/** On what and with what was measured. */
function facts({ updated, machine, engine, device, precision, versions, settings, rows }: Results): string {
  const { processor, cores, memory, system } = machine as NonNullable<Results["machine"]>;
  const library = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const { windows, context } = rows[0]?.measured ?? {};
  const { calibrationSamples: samples, calibrationContext: length = settings.context } = settings;
  return [
    `${updated.slice(0, 10)}, ${processor}, ${cores} cores, ${formatBytes(memory)} of memory, ${system}; engine ${engine} on ${device}, ${precision}; ${library.join(", ")}.`,
    `Perplexity is of the first ${windows} windows of ${context} tokens of the test text. Conversions are calibrated on ${samples} windows of ${length} tokens of the training text only, and nothing is trained unless it is said.`,
    "Budgets are shares of the multiply-adds of the linear layers, which are their parameters. The time is that of the conversion; tokens/s are those of the evaluation.",
  ].join("\n");
}

/** Draws a chart as PNG. */
async function picture(drawn: Chart, target: string): Promise<string> {
  const scratch = await mkdtemp(path.join(os.tmpdir(), "gblr-bench-"));
  try {
    const made = await chartToFiles(drawn, path.join(scratch, "chart"));
    await copyFile(made.find((file) => file.endsWith(".png")) as string, `${target}.png`);
    return `${target}.png`;
  } finally {
    await rm(scratch, { recursive: true });
  }
}
