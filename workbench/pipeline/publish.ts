// The publish stage: writes the card of a trained model, the picture of its blocks and training.json, and pushes the
// model folder to the Hub.

import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { parseRepoName } from "../../hub/access/repository.ts";
import type { CardFacts, MeasuredMetric } from "../../hub/card/index.ts";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { push } from "../../hub/push/index.ts";
import type { ComparisonRow } from "../evaluate/comparison-row.ts";
import { baseName, type Source } from "./fetch.ts";
import { originFacts, PICTURE, writeCard } from "./save.ts";
import type { ExperimentSettings } from "./settings.ts";
import { type ExperimentContext, lastEvent, type PipelineEvent } from "./stage.ts";
import type { Variant } from "./variants.ts";

/** Options of `publish`. */
export interface PublishOptions {
  /** run folder, to which the picture is copied */
  folder: string;
  /** model folder */
  model: string;
  variant: Variant;
  settings: ExperimentSettings;
  context: ExperimentContext;
  source: Source;
  dataset: Source;
  /** row of the published model */
  row: ComparisonRow;
  /** all rows of the comparison */
  rows: readonly ComparisonRow[];
  /** task as the Hub names it, e.g. `text-generation` */
  task: string;
  metrics: MeasuredMetric[];
  /** tokens per window; undefined for image classifiers */
  contextLength: number | undefined;
}

/**
 * Publishes a model: always to its folder, and with the setting `push` to the Hub.
 * @returns the address of the repository, if the model was pushed
 * @throws HubError if the push fails
 */
export async function* publish(options: PublishOptions): AsyncGenerator<PipelineEvent, string | undefined> {
  const { folder, model, settings, context, variant } = options;
  yield { kind: "stage", stage: "card", of: variant.title };
  const hasPicture = await writeCard(model, await factsOf(options));
  if (hasPicture) await copyFile(join(model, PICTURE), join(folder, PICTURE));
  await writeFileAtomically(join(model, "training.json"), `${JSON.stringify(trainingOf(options), null, 2)}\n`);
  if (settings.push === undefined) return undefined;
  yield { kind: "stage", stage: "push", of: settings.push };
  const repo = parseRepoName(settings.push, "model");
  const message = `${variant.title} of ${settings.model}`;
  const { signal, access } = context;
  const events = push(model, repo, access, { create: true, private: settings.private, message, signal });
  return (yield* lastEvent(events, "pushed", (event) => ({ kind: "inner", of: "push", event }))).url;
}

/** The name of the base model without its owner, its folder and the ending of a GGUF file. */
const shortName = (source: Source) =>
  baseName(source)
    .replace(/\.gguf$/i, "")
    .split(/[/:]/)
    .at(-1);

async function factsOf(options: PublishOptions): Promise<CardFacts> {
  const { settings, context, variant, source, task, dataset, metrics, contextLength, row, rows } = options;
  return {
    title: settings.push?.split("/").at(-1) ?? `${shortName(source)}-${variant.key}`,
    ...(settings.push !== undefined && { repository: settings.push }),
    task,
    structure: variant.structure,
    ...(await originFacts(source, context)),
    dataset: {
      id: baseName(dataset),
      ...(settings.config !== undefined && { config: settings.config }),
      ...(dataset.revision !== undefined && { revision: dataset.revision }),
    },
    metrics,
    comparison: rows,
    ...(row.relativeFlops && { relativeFlops: row.relativeFlops }),
    ...(contextLength !== undefined && { context: contextLength }),
    ...(settings.limit !== undefined && { limit: settings.limit }),
    seed: settings.seed,
    settings: publicPart(settings),
  };
}

/** The settings without those that depend on the machine or the account. */
function publicPart({
  run: _,
  fresh: _1,
  push: _2,
  private: _3,
  ...settings
}: ExperimentSettings): Partial<ExperimentSettings> {
  return settings;
}

/** The content of training.json: everything that is needed to repeat the run, and the results. */
function trainingOf({ settings, context, source, dataset, rows }: PublishOptions): object {
  const { engine, command, versions, recipe } = context;
  return {
    recipe,
    command,
    model: { name: baseName(source), revision: source.revision },
    dataset: { name: baseName(dataset), revision: dataset.revision, config: settings.config },
    seed: settings.seed,
    engine: { name: engine.name, device: engine.device, precision: engine.precision },
    versions,
    settings: publicPart(settings),
    results: rows,
  };
}
