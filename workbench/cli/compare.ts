// `gblr compare`: shows the results of several runs in one table and one plot. The work is done in
// workbench/report/compare; this file has the options and prints.

import process from "node:process";
import { type Command, Option } from "commander";
import { type Compared, compareResults } from "../report/compare/compare.ts";
import { ABSCISSAS, type AbscissaName } from "../report/compare/metrics.ts";
import { chartToFiles } from "../report/index.ts";
import { resultsJsonSchema } from "../report/results.ts";
import { layersText } from "./compare/layers.ts";
import { comparedDocument, comparedMarkdown, comparedText } from "./shared/compared.ts";
import { JSON_DOCUMENT } from "./shared/options.ts";
import { CommandFailed, UsageError, verb } from "./shared/program.ts";
import { paletteFor } from "./shared/terminal.ts";

interface CompareFlags {
  metric?: string[];
  x: AbscissaName;
  stage?: "before" | "after";
  layers?: boolean;
  plot?: string;
  markdown?: boolean;
  force?: boolean;
  schema?: boolean;
  json?: boolean;
}

const SUMMARY = "show the results of several runs in one table and one plot";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Compares results. Each argument is a results.json, or a folder with one: of a
run, of a sweep, or of a converted model.

Rows that differ only in seeds and calibration data are one row: the mean, ±
the standard deviation. The settings, versions and engines that differ between
rows are listed below the table.

Results of different models, data or metrics are refused, because their
numbers do not compare the methods.

With --layers, the arguments are the run folders of variants, such as
compare/lowrank-activation of a run. The output error of each layer is
compared with that in the first folder, by kind of layer.
`.trim();

export function addCompare(program: Command): void {
  verb(program, {
    name: "compare",
    summary: SUMMARY,
    example: [
      "gblr compare runs/gblr runs/lowrank --plot figures/perplexity",
      "gblr compare runs/sweep-vit-s-cifar10 --metric top1 --metric loss --x flops",
      "gblr compare a.json b.json --markdown > table.md",
      "gblr compare runs/gpt2/compare/lowrank-activation runs/gpt2 --layers",
    ].join("\n"),
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("[results...]", "results.json, or folders of runs, sweeps or converted models")
    .option(
      "--metric <name>",
      "metric to show; can be given several times, the first is plotted (default: the main metric)",
      collected,
    )
    .addOption(
      new Option(
        "--x <quantity>",
        "quantity on the x axis of the plot: parameters of the linear layers or of the whole model, actual or reference FLOPs, size of the file, or time",
      )
        .choices(Object.keys(ABSCISSAS))
        .default("linear"),
    )
    .addOption(
      new Option("--stage <name>", "show only rows before or after fine-tuning (default: both)").choices([
        "before",
        "after",
      ]),
    )
    .addOption(
      new Option("--layers", "compare output errors layer by layer with those in the first folder").conflicts([
        "metric",
        "x",
        "stage",
        "force",
      ]),
    )
    .option("--plot <path>", "write the plot to this path as .svg, .png and .json (Vega-Lite)")
    .addOption(new Option("--markdown", "print the table in Markdown").conflicts("json"))
    .option("--force", "compare results of different models, data or metrics too")
    .option("--schema", "print the JSON schema of results.json and stop")
    .option("--json", JSON_DOCUMENT)
    .action(compare);
}

const collected = (name: string, before: string[] = []): string[] => [...before, name];

async function compare(paths: string[], flags: CompareFlags): Promise<void> {
  const print = (text: string) => process.stdout.write(`${text}\n`);
  if (flags.schema) return void print(JSON.stringify(resultsJsonSchema(), null, 2));
  const { metric: metrics, x, stage, plot, markdown = false, force, json = false } = flags;
  if (paths.length === 0) throw new UsageError("no results are given; give results.json or folders of runs");
  if (flags.layers) {
    const palette = paletteFor(process.stdout, process.env);
    return void print(await layersText(paths, { palette, plot: plot && withoutEnding(plot), markdown, json }));
  }
  const compared = await compareResults(paths, { metrics, x, stage, force });
  const files = plot === undefined ? [] : await plotted(compared, plot);
  if (json) print(JSON.stringify(comparedDocument(compared, files), null, 2));
  else if (markdown) print(comparedMarkdown(compared));
  else print(comparedText(compared, { files, palette: paletteFor(process.stdout, process.env) }));
}

const withoutEnding = (path: string): string => path.replace(/\.(svg|png|json)$/, "");

async function plotted({ chart, metrics }: Compared, path: string): Promise<string[]> {
  if (!chart) throw new CommandFailed(`nothing to plot: no row has ${metrics[0]} and the quantity of --x`);
  return chartToFiles(chart, withoutEnding(path));
}
