// The save stage: writes a model folder, its card, and the picture of its blocks.

import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type CardFacts, modelCard, parseCardMetadata, SIZES_PICTURE } from "../../hub/card/index.ts";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { readConfig } from "../models/folder/load.ts";
import { type Model, type SaveEvent, type SaveOptions, saveModel } from "../models/index.ts";
import { describeModel, RUN_FILES, sizesPicture, structurePicture } from "../report/index.ts";
import { renderPng } from "../report/pictures/png.ts";
import { baseModelOf, type Source } from "./fetch.ts";
import { engineFacts } from "./results/source-facts.ts";
import { lastEvent, type Origin, type PipelineEvent } from "./stage.ts";

/** The result of the save stage. */
export interface Saved {
  /** names of the files in the folder */
  files: string[];
  /** bytes of all tensors */
  bytes: number;
}

/**
 * Saves a model. A model in the folder is replaced completely or, after an error, not at all.
 * @throws ModelError if it cannot be saved; the signal's reason when it aborts
 */
export async function* save(
  model: Model,
  folder: string,
  { signal, ...options }: SaveOptions & { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<PipelineEvent, Saved> {
  // Results in the folder are those of the model that is replaced.
  for (const file of [RUN_FILES.results, RUN_FILES.conversion]) await rm(join(folder, file), { force: true });
  return yield* saved(saveModel(model, folder, options), signal);
}

/** Makes a stage from the events of `saveModel` or `writeModelFolder`. */
export function saved(
  events: AsyncIterable<SaveEvent>,
  signal?: AbortSignal | undefined,
): AsyncGenerator<PipelineEvent, Saved> {
  return lastEvent(events, "saved", (event) => {
    if (event.kind !== "saved") signal?.throwIfAborted();
    return { kind: "inner", of: "save", event };
  });
}

/** The option `base` of `saveModel`. A folder has no name there, so the base model in its config.json is kept. */
export const baseOf = ({ folder, name, repo }: Source): NonNullable<SaveOptions["base"]> => ({
  folder,
  ...((repo !== undefined || name !== folder) && { name }),
});

/** File name of the picture of a model's blocks. */
export const PICTURE = "structure.png";

/** Facts that are read from the folder. */
type Found = "hasPicture" | "hasPython" | "hasTransformers" | "hasProcessor" | "hasTrainable";

/**
 * Writes the card of a model folder and the picture of its blocks. A card that this program has not written is kept.
 * @returns whether there is a picture, which only models with GBLR layers have
 */
export async function writeCard(folder: string, facts: Omit<CardFacts, Found>): Promise<boolean> {
  const svg = structurePicture(await describeModel(folder), facts.repository ?? facts.title);
  if (svg !== undefined) await writeFileAtomically(join(folder, PICTURE), await renderPng(svg));
  const picture = facts.sizes && (await sizesPicture(facts.sizes));
  if (picture) await writeFileAtomically(join(folder, SIZES_PICTURE), picture);
  else await rm(join(folder, SIZES_PICTURE), { force: true });
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

/** The facts of a model card about the origin of the model. */
export async function originFacts(source: Source, { engine, command, versions }: Origin) {
  const readme = await readFile(join(source.folder, "README.md"), "utf8").catch(() => "");
  return {
    ...(await baseModelOf(source)),
    ...(source.revision !== undefined && { baseRevision: source.revision }),
    base: parseCardMetadata(readme),
    command,
    versions,
    ...engineFacts({ engine }),
  } satisfies Partial<CardFacts>;
}
