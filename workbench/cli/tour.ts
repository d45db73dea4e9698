// Runs a tour of the workbench (pipeline/tour.ts) as a command. `npm start` runs the tour of recipes/quickstart.ts.

import process from "node:process";
import type { OpenEngineOptions } from "../engine/core/types.ts";
import { followTour, type Tour } from "../pipeline/tour.ts";
import { addEngineOptions, JSON_DOCUMENT, openEngineFor } from "./shared/options.ts";
import { programNamed, runMain } from "./shared/program.ts";
import { formatDuration } from "./shared/progress.ts";
import { runStages } from "./shared/stages.ts";
import { paletteFor } from "./shared/terminal.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";
import { comparisonTable } from "./shared/view.ts";

interface TourFlags extends OpenEngineOptions {
  json?: boolean;
}

/** Runs a tour with the flags of this process, and sets the exit code. */
export async function runTour(tour: Tour & { summary: string }): Promise<void> {
  const program = programNamed(tour.name).description(tour.summary);
  addEngineOptions(program)
    .option("--json", JSON_DOCUMENT)
    .action((flags: TourFlags) => follow(tour, flags));
  await runMain(program);
}

async function follow(tour: Tour & { summary: string }, flags: TourFlags): Promise<void> {
  const began = performance.now();
  const { json = false } = flags;
  const engine = await openEngineFor(flags);
  const { name, device } = engine;
  const say = (text: string) => json || process.stdout.write(`${text}\n`);
  const interrupted = "interrupted; run the same command again to start over";
  const { rows, report, pulledBack } = await runStages(
    {
      interrupted,
      json,
      silent: json,
      show: (event) => {
        if (event.kind === "serving")
          say(`${tour.summary}\nEngine ${name} on ${device}; Hub ${event.url}, in ${event.folder}.\n`);
        if (event.kind === "trained") say("");
      },
    },
    ({ signal }) => followTour(tour, { engine, command: commandLine(), versions: versionsOf(engine), signal }),
  );
  const seconds = (performance.now() - began) / 1000;
  if (json) {
    const document = { engine: name, device, seconds, rows, pulledBack: pulledBack.metrics, report };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    return;
  }
  const perplexity = pulledBack.metrics.perplexity?.toFixed(3);
  const lines = ["", ...comparisonTable(rows, paletteFor(process.stdout, process.env)), ""];
  const same = `  pulled ${tour.compress.push} back from the Hub: perplexity ${perplexity}, as before the push`;
  say([...lines, same, `  report  ${report}`, `  ${formatDuration(seconds)} in total`].join("\n"));
}
