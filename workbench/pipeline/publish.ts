// What makes a model folder a repository: the card, the picture of its blocks, what it was made with; and the push.

import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseRepoName } from "../../hub/access/repository.ts";
import { type CardFacts, type MeasuredMetric, parseCardMetadata } from "../../hub/card/index.ts";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { push } from "../../hub/push/index.ts";
import type { ComparisonRow } from "../report/index.ts";
import { MODEL, type VariantOptions } from "./convert.ts";
import { baseName, type Source } from "./fetch.ts";
import { PICTURE, writeCard } from "./save.ts";
import type { ExperimentSettings } from "./settings.ts";
import type { ExperimentEvent } from "./stage.ts";

export interface PublishOptions extends VariantOptions {
  /** as the Hub names it */
  task: string;
  dataset: Source;
  metrics: MeasuredMetric[];
  /** tokens of a window, of language models */
  contextLength: number | undefined;
}

/** @returns the address of the repository that it was pushed to, where one was asked for */
export async function* publish(options: PublishOptions): AsyncGenerator<ExperimentEvent, string | undefined> {
  const { folder, settings, context, variant } = options;
  const model = join(folder, MODEL);
  yield { kind: "stage", stage: "card", of: variant.title };
  const hasPicture = await writeCard(model, await factsOf(options));
  if (hasPicture) await copyFile(join(model, PICTURE), join(folder, PICTURE));
  await writeFileAtomically(join(model, "training.json"), `${JSON.stringify(trainingOf(options), null, 2)}\n`);
  if (settings.push === undefined) return undefined;
  yield { kind: "stage", stage: "push", of: settings.push };
  const repo = parseRepoName(settings.push, "model");
  const message = `${variant.title} of ${settings.model}`;
  const { signal, access } = context;
  for await (const event of push(model, repo, access, { create: true, private: settings.private, message, signal })) {
    yield { kind: "inner", of: "push", event };
    if (event.kind === "pushed") return event.url;
  }
  throw new Error("the push ended early");
}

async function factsOf(options: PublishOptions): Promise<CardFacts> {
  const { settings, context, variant, source, task, dataset, metrics, contextLength, table } = options;
  const row = table.find(variant.title, "after") as ComparisonRow;
  const readme = await readFile(join(source.folder, "README.md"), "utf8").catch(() => "");
  const base = baseName(source);
  const { engine, command, versions } = context;
  return {
    title: settings.push?.split("/").at(-1) ?? `${base.split(/[/:]/).at(-1)}-${variant.key}`,
    ...(settings.push !== undefined && { repository: settings.push }),
    task,
    structure: variant.structure,
    baseModel: base,
    ...(source.revision !== undefined && { baseRevision: source.revision }),
    base: parseCardMetadata(readme),
    dataset: {
      id: baseName(dataset),
      ...(settings.config !== undefined && { config: settings.config }),
      ...(dataset.revision !== undefined && { revision: dataset.revision }),
    },
    metrics,
    comparison: table.rows,
    ...(row.relativeFlops && { relativeFlops: row.relativeFlops }),
    ...(contextLength !== undefined && { context: contextLength }),
    ...(settings.limit !== undefined && { limit: settings.limit }),
    command,
    versions,
    engine: engine.name,
    device: engine.device,
    precision: engine.precision,
    seed: settings.seed,
    settings: told(settings),
  };
}

/** Where a run lay on somebody's disk, and what became of it, is nobody else's business. */
function told({
  run: _,
  fresh: _1,
  push: _2,
  private: _3,
  ...settings
}: ExperimentSettings): Partial<ExperimentSettings> {
  return settings;
}

/** training.json: everything that a repetition needs, and what came out. */
function trainingOf({ settings, context, source, dataset, table }: PublishOptions): object {
  const { engine, command, versions, recipe } = context;
  return {
    recipe,
    command,
    model: { name: baseName(source), revision: source.revision },
    dataset: { name: baseName(dataset), revision: dataset.revision, config: settings.config },
    seed: settings.seed,
    engine: { name: engine.name, device: engine.device, precision: engine.precision },
    versions,
    settings: told(settings),
    results: table.rows,
  };
}
