// The save stage: a model written to its folder, and the card of a folder with the picture of its blocks.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type CardFacts, modelCard, parseCardMetadata } from "../../hub/card/index.ts";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { readConfig } from "../models/folder/load.ts";
import { type Model, type SaveEvent, type SaveOptions, saveModel } from "../models/index.ts";
import { describeModel, structurePicture } from "../report/index.ts";
import { renderPng } from "../report/pictures/png.ts";
import { baseModelOf, type Source } from "./fetch.ts";
import { lastEvent, type Origin, type PipelineEvent } from "./stage.ts";

export interface Saved {
  /** names in the folder */
  files: string[];
  /** of all tensors */
  bytes: number;
}

/** Replaces the model that is in the folder, whole or not at all. @throws ModelError; the signal's reason when it aborts */
export async function* save(
  model: Model,
  folder: string,
  { signal, ...options }: SaveOptions & { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<PipelineEvent, Saved> {
  return yield* saved(saveModel(model, folder, options), signal);
}

/** The stage of any writer of model folders. */
export function saved(
  events: AsyncIterable<SaveEvent>,
  signal?: AbortSignal | undefined,
): AsyncGenerator<PipelineEvent, Saved> {
  return lastEvent(events, "saved", (event) => {
    if (event.kind !== "saved") signal?.throwIfAborted();
    return { kind: "inner", of: "save", event };
  });
}

/** `base` of what is saved: a repository by its name; a folder passes on what its own config.json names. */
export const baseOf = ({ folder, name, repo }: Source): NonNullable<SaveOptions["base"]> => ({
  folder,
  ...((repo !== undefined || name !== folder) && { name }),
});

export const PICTURE = "structure.png";

/** What the folder itself says. */
type Found = "hasPicture" | "hasPython" | "hasTransformers" | "hasProcessor" | "hasTrainable";

/** Leaves a card of somebody else as it is. @returns whether there is a picture: only GBLR layers have one */
export async function writeCard(folder: string, facts: Omit<CardFacts, Found>): Promise<boolean> {
  const svg = structurePicture(await describeModel(folder), facts.repository ?? facts.title);
  if (svg !== undefined) await writeFileAtomically(join(folder, PICTURE), await renderPng(svg));
  const names = await readdir(folder);
  const hasPython = names.includes("modeling_gblr.py");
  const found = {
    hasPicture: svg !== undefined,
    hasPython,
    ...(hasPython && { hasTransformers: (await readConfig(folder)).json.auto_map !== undefined }),
    hasProcessor: names.includes("preprocessor_config.json"),
    hasTrainable: names.includes("trainable.safetensors"),
  };
  const card = join(folder, "README.md");
  const before = await readFile(card, "utf8").catch(() => undefined);
  if (before === undefined || isOurs(before)) await writeFileAtomically(card, modelCard({ ...facts, ...found }));
  return svg !== undefined;
}

const isOurs = (card: string): boolean => parseCardMetadata(card).tags?.includes("gblr") === true;

/** What a card says of where a model comes from and how it was made. */
export async function originFacts(source: Source, { engine, command, versions }: Origin) {
  const readme = await readFile(join(source.folder, "README.md"), "utf8").catch(() => "");
  return {
    ...(await baseModelOf(source)),
    ...(source.revision !== undefined && { baseRevision: source.revision }),
    base: parseCardMetadata(readme),
    command,
    versions,
    engine: engine.name,
    device: engine.device,
    precision: engine.precision,
  } satisfies Partial<CardFacts>;
}
