// A tour of the workbench on one machine, without a network: a Hub of its own in the run's folder, a model trained there,
// compressed, pushed, pulled back as somebody else would, and measured once more. What is trained is the recipe's.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import type { HubAccess } from "../../hub/access/repository.ts";
import { serveHub } from "../../hub/serve/index.ts";
import type { Engine, OpenEngineOptions } from "../engine/core/types.ts";
import { loadModelNow } from "../models/index.ts";
import { type LanguageSettings, languageDomain, languageSettings } from "../pipeline/domains/language.ts";
import { experiment as runExperiment } from "../pipeline/experiment.ts";
import { type Measured, measure } from "../pipeline/measure.ts";
import type { ExperimentContext, ExperimentEvent } from "../pipeline/stage.ts";
import type { ComparisonRow } from "../report/index.ts";
import { addEngineOptions, openEngineFor } from "./shared/options.ts";
import { CommandFailed, Interrupted, interruptible, programNamed, runMain } from "./shared/program.ts";
import { formatDuration } from "./shared/progress.ts";
import { readSettings } from "./shared/settings.ts";
import { paletteFor } from "./shared/terminal.ts";
import { commandLine, versionsOf } from "./shared/versions.ts";
import { comparisonTable, ExperimentView } from "./shared/view.ts";

type Given = Partial<LanguageSettings> & { push: string };

export interface Tour {
  name: string;
  summary: string;
  /** begun anew at each run */
  folder: string;
  /** lays out repositories in the folder of a Hub */
  prepare(hub: string): Promise<void>;
  /** the dense model */
  train: Given;
  compress: Given;
}

interface TourFlags extends OpenEngineOptions {
  json?: boolean;
}

export async function runTour(tour: Tour): Promise<void> {
  const program = programNamed(tour.name).description(tour.summary);
  addEngineOptions(program)
    .option("--json", "one JSON document on stdout")
    .action((flags: TourFlags) =>
      interruptible("interrupted; start it again from the beginning", (signal) => follow(tour, flags, signal)),
    );
  await runMain(program);
}

async function follow(tour: Tour, flags: TourFlags, signal: AbortSignal): Promise<void> {
  const began = performance.now();
  const engine = await openEngineFor(flags);
  const view = new ExperimentView({ silent: flags.json === true });
  const say = (line: string) => flags.json || process.stdout.write(`${line}\n`);
  await rm(tour.folder, { recursive: true, force: true });
  const hub = join(tour.folder, "hub");
  await tour.prepare(hub);
  const served = await serveHub({ folder: hub });
  try {
    const access = { endpoint: served.url, token: served.token, cache: join(tour.folder, "cache") };
    const context = contextOf(tour, { engine, access, signal });
    say(`${tour.summary}\nEngine ${engine.name} on ${engine.device}; Hub ${served.url}, in ${hub}.\n`);
    await through(experiment(tour.train, context, join(tour.folder, "dense")), view);
    say("");
    const { rows, report } = await through(experiment(tour.compress, context, join(tour.folder, "gblr")), view);
    // Another cache, as on another machine: all of it has to come from the Hub.
    const elsewhere = { ...context, access: { ...access, cache: join(tour.folder, "cache-elsewhere") } };
    const back = await through(pulledBack(tour.compress, elsewhere), view);
    const last = rows.at(-1) as ComparisonRow;
    expectSame(last, back);
    const seconds = (performance.now() - began) / 1000;
    if (flags.json) {
      process.stdout.write(
        `${JSON.stringify({ engine: engine.name, device: engine.device, seconds, rows, pulledBack: back.metrics, report }, null, 2)}\n`,
      );
      return;
    }
    const same = `pulled ${tour.compress.push} back from the Hub: perplexity ${back.metrics.perplexity?.toFixed(3)}, the same`;
    const lines = ["", ...comparisonTable(rows, paletteFor(process.stdout, process.env)), "", `  ${same}`];
    say([...lines, `  report  ${report}`, `  ${formatDuration(seconds)} in all`].join("\n"));
  } finally {
    view.stop();
    await served.close();
  }
}

function contextOf(
  { name, folder }: Tour,
  { engine, access, signal }: { engine: Engine; access: HubAccess; signal: AbortSignal },
): ExperimentContext {
  return { access, engine, cache: folder, recipe: name, command: commandLine(), versions: versionsOf(engine), signal };
}

interface Finished {
  rows: readonly ComparisonRow[];
  report: string;
}

async function* experiment(
  given: Given,
  context: ExperimentContext,
  folder: string,
): AsyncGenerator<ExperimentEvent, Finished> {
  const settings = readSettings(
    languageSettings,
    {},
    { structure: given.flops === undefined ? "dense" : "gblr", ...given },
  );
  for await (const event of runExperiment(languageDomain, settings, { context, folder })) {
    yield event;
    if (event.kind === "interrupted") throw new Interrupted("interrupted; start it again from the beginning");
    if (event.kind === "finished") return { rows: event.rows, report: join(folder, "report.html") };
  }
  throw new CommandFailed("the experiment ended early");
}

async function* pulledBack(given: Given, context: ExperimentContext): AsyncGenerator<ExperimentEvent, Measured> {
  yield { kind: "stage", stage: "pull back", of: given.push };
  const settings = readSettings(languageSettings, {}, { ...given, model: given.push });
  const sources = yield* languageDomain.fetch(settings, context);
  const data = yield* languageDomain.open(settings, sources, context);
  const { folder } = sources.model;
  const model = await loadModelNow(folder);
  try {
    return yield* measure(model, { data, signal: context.signal, folder });
  } finally {
    model.dispose();
    await data.close();
  }
}

function expectSame(row: ComparisonRow, back: Measured): void {
  if (row.metrics.perplexity === back.metrics.perplexity) return;
  const [before, after] = [row.metrics.perplexity, back.metrics.perplexity];
  throw new CommandFailed(`the model that came back from the Hub has perplexity ${after}, not ${before}`);
}

/** Runs to the end, shown. */
async function through<Result>(events: AsyncGenerator<ExperimentEvent, Result>, view: ExperimentView): Promise<Result> {
  for (;;) {
    const { value, done } = await events.next();
    if (done) return value;
    view.show(value);
  }
}
