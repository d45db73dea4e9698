// Writes the report of a run: report.html, one self-contained HTML file without scripts. While the run is running, the
// page reloads itself.

import { readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { reason } from "../../../hub/files/byte-source.ts";
import { formatDuration } from "../../../hub/text/numbers.ts";
import { describeModel } from "../describe-model.ts";
import { stepsOf } from "../metrics-log.ts";
import { readResults } from "../results-file.ts";
import { RUN_FILES, type Run, readRun } from "../run-files.ts";
import { RunError } from "../run-record.ts";
import { drawing, type Html, html } from "./html.ts";
import {
  classificationSection,
  comparisonSection,
  factsSection,
  layersSection,
  layoutSection,
  type Shown,
  samplesSection,
  structureSection,
  trainingSection,
  worthSection,
} from "./sections.ts";
import { STYLE } from "./style.ts";
import { dateText } from "./tables.ts";

/** Seconds after which the page of a running run is reloaded. */
const RELOAD = 30;

/** The report as HTML. @param title title of the page if the run has no run.json */
async function reportPage(shown: Shown, title: string): Promise<string> {
  const { run } = shown;
  const name = run.record?.name ?? title;
  const isRunning = run.record?.status === "running";
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${isRunning ? html`<meta http-equiv="refresh" content="${RELOAD}">` : undefined}
<title>${isRunning ? "(running) " : ""}${name}</title>
<style>${drawing(STYLE)}</style>
</head>
<body>
<main>
${headline(run, name)}
${comparisonSection(shown)}
${await classificationSection(shown)}
${await trainingSection(shown)}
${samplesSection(shown)}
${await structureSection(shown)}
${layoutSection(shown)}
${layersSection(shown)}
${worthSection(shown)}
${factsSection(shown)}
</main>
</body>
</html>
`;
  return page.text;
}

function headline(run: Run, name: string): Html {
  const { record, problems, touched } = run;
  const updated = touched ? `updated ${dateText(touched)}` : "";
  const status = record
    ? html`<p><span class="status ${record.status}">${record.status}</span> <span class="soft">${[updated, progress(run)].filter(Boolean).join(" · ")}</span></p>`
    : html`<p class="soft">${updated}</p>`;
  return html`<header>
<h1>${name}</h1>
${status}
${record?.error === undefined ? undefined : html`<p class="problem">${record.error}</p>`}
${problems.map((problem) => html`<p class="problem">${problem}</p>`)}
${record ? html`<pre>${wordsOf(record.command)}</pre>` : undefined}
</header>`;
}

/** Splits a command into words so that lines break between words only, not after the hyphen of a flag. */
const wordsOf = (command: string): Html[] =>
  command.split(/(?<=\s)(?=\S)/).map((word) => html`<span class="word">${word}</span>`);

/** Last step, epoch and time of training. */
function progress({ record, metrics }: Run): string {
  const last = stepsOf(metrics).at(-1);
  if (!last) return "";
  const of = record?.steps === undefined ? "" : ` of ${record.steps}`;
  return `step ${last.step}${of}, epoch ${Number(last.epoch.toFixed(2))} · ${formatDuration(last.seconds)} of training`;
}

/**
 * Writes the report of a run folder. It can be called at any time of the run. The report lists files that are damaged.
 * @throws RunError if the folder holds no run, or the report cannot be written
 */
export async function writeReport(folder: string): Promise<void> {
  const file = join(folder, RUN_FILES.report);
  const page = await reportPage(await shownOf(folder), basename(resolve(folder)));
  await writeFileAtomically(file, page).catch((error: unknown) => {
    throw new RunError(`cannot be written: ${reason(error)}`, { file }, { cause: error });
  });
}

async function shownOf(folder: string): Promise<Shown> {
  const read = await readRun(folder);
  const found = await modelOf(read);
  const run = found?.place === folder ? await withResults(read) : read;
  if (!found) return { run, picture: await pictureIn(folder) };
  try {
    return { run, model: await describeModel(found.place), modelTitle: found.title };
  } catch (error) {
    // The model of a running run may be incomplete. The rest of the report is still useful.
    const problem = error instanceof Error ? error.message : String(error);
    return { run, modelProblem: `The model cannot be read: ${problem}.`, picture: await pictureIn(folder) };
  }
}

/** Where the model is of which a report shows the blocks: the trained one, or a converted one if none is trained. */
async function modelOf({ folder, metrics }: Run): Promise<{ place: string; title: string } | undefined> {
  const places = [
    { place: join(folder, RUN_FILES.model), title: "Final model" },
    ...(stepsOf(metrics).length > 0 ? [] : [{ place: join(folder, RUN_FILES.converted), title: "Converted model" }]),
  ];
  for (const each of places) if (await stat(each.place).catch(() => undefined)) return each;
  // `gblr convert` writes its records into the folder of the model itself.
  const isModel = await stat(join(folder, "config.json")).catch(() => undefined);
  return isModel && { place: folder, title: "Converted model" };
}

/** A converted model has its facts in results.json instead of run.json. */
async function withResults(run: Run): Promise<Run> {
  const read = await readResults(run.folder).catch(() => undefined);
  if (run.record || !read) return run;
  const { rows, split, ...facts } = read.results;
  const record = { ...facts, ...(split !== undefined && { comparisonSplit: split }) };
  return { ...run, record, comparison: rows.filter(({ metrics }) => Object.keys(metrics).length > 0) };
}

const pictureIn = (folder: string): Promise<Uint8Array | undefined> =>
  readFile(join(folder, RUN_FILES.picture)).catch(() => undefined);
