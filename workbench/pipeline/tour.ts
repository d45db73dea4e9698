// Runs a tour of the workbench on one machine, without network access: starts a local Hub, trains a model, compresses
// it, pushes it, pulls it into another cache, and measures it again. recipes/quickstart.ts is such a tour.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { serveHub } from "../../hub/serve/index.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { RUN_FILES } from "../report/index.ts";
import { type LanguageSettings, languageDomain, languageSettings } from "./domains/language.ts";
import { experiment } from "./experiment.ts";
import { load } from "./load.ts";
import { type Measured, measure } from "./measure.ts";
import type { ExperimentContext, Origin, PipelineEvent } from "./stage.ts";

type Given = Partial<LanguageSettings> & { model: string; dataset: string; push: string };

/** A tour: its folder, its repositories, and the settings of its two experiments. */
export interface Tour {
  name: string;
  /** folder of the tour; each run deletes and creates it */
  folder: string;
  /** writes the repositories of the initial model and the data set into the folder of the Hub */
  prepare(hub: string): Promise<void>;
  /** settings of the training of the dense model */
  train: Given;
  /** settings of the compression */
  compress: Given;
}

/** Progress of a tour. */
export type TourEvent =
  | PipelineEvent
  /** the local Hub is ready */
  | { kind: "serving"; url: string; folder: string }
  /** the training of the dense model has ended */
  | { kind: "trained" };

/** The result of a tour. */
export interface Toured {
  rows: readonly ComparisonRow[];
  /** report.html of the compression */
  report: string;
  /** metrics, cost and size of the model that was pulled back */
  pulledBack: Measured;
}

/**
 * Runs a tour.
 * @throws Error if the model that was pulled back has another perplexity than before; the signal's reason when it
 * aborts
 */
export async function* followTour(
  tour: Tour,
  { signal, ...origin }: Origin & { signal: AbortSignal },
): AsyncGenerator<TourEvent, Toured> {
  const { name: recipe, folder } = tour;
  await rm(folder, { recursive: true, force: true });
  const hub = join(folder, "hub");
  await tour.prepare(hub);
  const { url, token, close } = await serveHub({ folder: hub });
  try {
    yield { kind: "serving", url, folder: hub };
    const access = { endpoint: url, token, cache: join(folder, "cache") };
    const context = { ...origin, access, cache: folder, recipe, signal };
    yield* finished(tour.train, context, join(folder, "dense"));
    yield { kind: "trained" };
    const rows = yield* finished(tour.compress, context, join(folder, "gblr"));
    // With an empty cache, as on another machine, the whole model has to be downloaded from the Hub.
    const elsewhere = { ...context, access: { ...access, cache: join(folder, "cache-elsewhere") } };
    const pulledBack = yield* pullBack(tour.compress, elsewhere);
    expectSame(rows.at(-1), pulledBack);
    return { rows, report: join(folder, "gblr", RUN_FILES.report), pulledBack };
  } finally {
    await close();
  }
}

async function* finished(
  given: Given,
  context: ExperimentContext,
  folder: string,
): AsyncGenerator<PipelineEvent, readonly ComparisonRow[]> {
  const structure = given.flops === undefined ? "dense" : "gblr";
  const settings = languageSettings.parse({ structure, ...given });
  for await (const event of experiment(languageDomain, settings, { context, folder })) {
    yield event;
    if (event.kind === "interrupted") context.signal.throwIfAborted();
    if (event.kind === "finished") return event.rows;
  }
  throw new Error("the experiment ended early");
}

async function* pullBack(given: Given, context: ExperimentContext): AsyncGenerator<PipelineEvent, Measured> {
  yield { kind: "stage", stage: "pull back", of: given.push };
  const settings = languageSettings.parse({ ...given, model: given.push });
  const sources = yield* languageDomain.fetch(settings, context);
  const data = yield* languageDomain.open(settings, sources, context);
  try {
    const { folder } = sources.model;
    const model = yield* load(folder);
    try {
      return yield* measure(model, { data, signal: context.signal, folder });
    } finally {
      model.dispose();
    }
  } finally {
    await data.close();
  }
}

function expectSame(row: ComparisonRow | undefined, back: Measured): void {
  const [before, after] = [row?.metrics.perplexity, back.metrics.perplexity];
  if (before === after) return;
  throw new Error(`the model pulled back from the Hub has perplexity ${after}, expected ${before}; please report this`);
}
