// `gblr report`: writes the report of a run from the files in its folder, and with --charts each chart as files. The work
// is done in workbench/report.

import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import process from "node:process";
import type { Command } from "commander";
import { reason } from "../../hub/files/byte-source.ts";
import { chartToFiles, RUN_FILES, readRun, structureCharts, trainingCharts, writeReport } from "../report/index.ts";
import { JSON_DOCUMENT } from "./shared/options.ts";
import { CommandFailed, verb } from "./shared/program.ts";

interface ReportOptions {
  charts?: string;
  json?: boolean;
}

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Writes report.html into the folder of a run: one self-contained HTML file with
the curves, tables and block layouts of the run so far. A report can be written
while the run is in progress, and after it was killed. The report lists what is
missing.

For the folder of a model that gblr convert wrote, the report shows where the
blocks are and how much each part of a matrix reduces the error.
`.trim();

export function addReport(program: Command): void {
  verb(program, {
    name: "report",
    summary: "write the report of a run: curves, tables and block layouts in one HTML file",
    example: "gblr report runs/gpt2-gaudi\ngblr report runs/gpt2-gaudi --charts figures --json",
  })
    .summary("write the report of a run: curves, tables and block layouts in one HTML file")
    .description(DESCRIPTION)
    .argument("<run>", "run folder, or the folder of a converted model")
    .option("--charts <folder>", "also write each chart to this folder as .svg, .png and .json (Vega-Lite)")
    .option("--json", JSON_DOCUMENT)
    .action(report);
}

async function report(folder: string, { charts, json = false }: ReportOptions): Promise<void> {
  const run = await readRun(folder);
  await writeReport(folder);
  const written = resolve(join(folder, RUN_FILES.report));
  const files =
    charts === undefined ? [] : await writeCharts([...trainingCharts(run), ...structureCharts(run)], charts);
  const status = run.record?.status;
  const text = json
    ? JSON.stringify({ report: written, ...(status && { status }), problems: run.problems, charts: files }, null, 2)
    : [written, ...files].join("\n");
  process.stdout.write(`${text}\n`);
}

async function writeCharts(charts: ReturnType<typeof trainingCharts>, folder: string): Promise<string[]> {
  try {
    await mkdir(folder, { recursive: true });
    const files: string[] = [];
    for (const [i, chart] of charts.entries()) {
      const name = chart.title
        .replace("σ", "sigma")
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .replace(/^-|-$/g, "");
      files.push(...(await chartToFiles(chart, join(folder, `${String(i + 1).padStart(2, "0")}-${name}`))));
    }
    return files;
  } catch (error) {
    throw new CommandFailed(`${folder}: charts cannot be written: ${reason(error)}`, { cause: error });
  }
}
