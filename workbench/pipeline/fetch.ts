// The fetch stage: finds the folder of a model or a data set by its name. A folder is used as it is; from a repository
// on the Hub only the files that are needed are pulled; a released checkpoint of the zoo is made into a model folder.

import { readdir, readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { HubError } from "../../hub/access/hub-error.ts";
import type { CardFacts } from "../../hub/card/index.ts";
import { TRAINABLE_FILE } from "../../hub/model-folder/index.ts";
import { type Located, type LocateZoo, locate } from "../../hub/pull/locate.ts";
import { isZooName, zooEntry } from "../../hub/zoo/releases.ts";
import { dataFilePatterns, MissingSplitError } from "../data/index.ts";
import { readConfig } from "../models/folder/load.ts";
import { type Architecture, architectureOf, COMPANION_FILES, type NewHead, type Preparation } from "../models/index.ts";
import { type PullZooEvent, pullZoo } from "../models/reference/index.ts";
import type { PipelineEvent, StageContext } from "./stage.ts";

export interface Source {
  /** as it was named, `owner/name@revision` or a folder */
  name: string;
  folder: string;
  /** `owner/name` of a repository, without its revision */
  repo?: string;
  /** commit, of a repository */
  revision?: string;
  /** its weights are random */
  untrained?: boolean;
  /** new head that replaces the one in the folder, for classifiers */
  head?: NewHead;
  /** image preparation that overrides the one in the folder */
  preparation?: Preparation;
}

/** The name in records: a repository without its revision, which has a field of its own, or the name as it was given. */
export const baseName = ({ name, repo }: Source): string => repo ?? name;

/**
 * The base model that a card names: the repository; for a folder the base model in its config.json, else the name of the
 * folder, without a link.
 */
export async function baseModelOf({ name, folder, repo }: Source): Promise<Pick<CardFacts, "baseModel" | "isFolder">> {
  if (repo !== undefined) return { baseModel: repo };
  if (resolve(name) !== resolve(folder)) return { baseModel: name };
  const { gblr } = (await readConfig(folder)).json as { gblr?: { base_model?: unknown } };
  if (typeof gblr?.base_model === "string") return { baseModel: gblr.base_model };
  return { baseModel: basename(resolve(folder)), isFolder: true };
}

/** The structure of most layers of a model folder. */
export async function structureOf({ folder }: Source): Promise<string> {
  const { json } = await readConfig(folder);
  return (json.gblr as { structure?: string } | undefined)?.structure ?? "dense";
}

export type FetchContext = Pick<StageContext, "access" | "signal" | "zooRelease" | "openEngine">;

/** Files that a model folder may lack. Files with settings are required: without them results would differ. */
const OPTIONAL_FILES = [...COMPANION_FILES.filter((name) => !name.endsWith("_config.json")), "README.md", "LICENSE*"];

/** Files that a model is run from: not the same weights in other formats, nor the factors that training needs. */
export const MODEL_FILES = [
  "config.json",
  "model.safetensors",
  "model-*-of-*.safetensors",
  "model.safetensors.index.json",
  ...COMPANION_FILES,
  "README.md",
  "LICENSE*",
];

/** Weights in repositories older than safetensors. */
const OLD_WEIGHTS = ["pytorch_model*.bin", "pytorch_model.bin.index.json"];

export interface FetchModelOptions extends FetchContext {
  /** fetch trainable factors besides what a model is run from. Default false */
  trainable?: boolean;
}

/** Names of the zoo need an open engine, or `openEngine`. */
export async function* fetchModel(
  name: string,
  { trainable = false, ...options }: FetchModelOptions,
): AsyncGenerator<PipelineEvent, Source> {
  const files = trainable ? [...MODEL_FILES, TRAINABLE_FILE] : MODEL_FILES;
  const source = yield* located(name, "model", files, options);
  if (source.revision === undefined || !(await lacksSafetensors(source.folder))) return source;
  return yield* located(name, "model", [...MODEL_FILES, ...OLD_WEIGHTS], options);
}

/** The architecture of a model. Fetches config.json only. */
export async function* fetchArchitecture(
  name: string,
  options: FetchContext,
): AsyncGenerator<PipelineEvent, Architecture> {
  if (isZooName(name)) return architectureOf(zooEntry(name).modelType);
  const { folder } = yield* located(name, "model", ["config.json"], options);
  return (await readConfig(folder)).architecture;
}

const lacksSafetensors = async (folder: string): Promise<boolean> =>
  !(await readdir(folder)).some((file) => file.endsWith(".safetensors"));

export interface DatasetSource {
  /** as it was named */
  name: string;
  config: string | undefined;
  splits: readonly string[];
}

export async function* fetchDataset(
  { name, config, splits }: DatasetSource,
  options: FetchContext,
): AsyncGenerator<PipelineEvent, Source> {
  const readme = yield* readCard(name, options);
  const patterns = splits.map((split) => dataFilePatterns({ dataset: name, readme, config, split }));
  for (const [i, split] of splits.entries()) {
    try {
      const own = (patterns[i] as string[]).filter((pattern) => pattern !== "README.md");
      yield* located(name, "dataset", own, options);
    } catch (error) {
      if (!(error instanceof HubError) || error.code !== "no-match") throw error;
      const inside = config === undefined ? "" : ` in configuration "${config}"`;
      throw new MissingSplitError(name, split, `${inside}, neither in its card nor by the names of its files`);
    }
  }
  return yield* located(name, "dataset", [...new Set(patterns.flat())], options);
}

/** The card of a data set, which tells where its splits are. A data set without one follows the Hub's conventions. */
async function* readCard(name: string, options: FetchContext): AsyncGenerator<PipelineEvent, string | undefined> {
  try {
    const { folder } = yield* located(name, "dataset", ["README.md"], options);
    return await readFile(join(folder, "README.md"), "utf8").catch(() => undefined);
  } catch (error) {
    if (error instanceof HubError && (error.code === "no-match" || error.code === "not-cached")) return undefined;
    throw error;
  }
}

async function* located(
  name: string,
  type: "model" | "dataset",
  include: readonly string[],
  { access, signal, zooRelease: release, openEngine }: FetchContext,
): AsyncGenerator<PipelineEvent, Source> {
  const zoo: LocateZoo<ZooStep> = (name, access, { signal }) =>
    stepsOf(pullZoo(name, access, { release, signal, ...(openEngine && { openEngine }) }));
  const optional = type === "model" ? OPTIONAL_FILES : ["README.md"];
  for await (const event of locate(name, type, access, { include, optional, signal, zoo })) {
    if (event.kind === "located") {
      const { folder, commit, repo } = event;
      return { name, folder, ...(repo && { repo }), ...(commit && { revision: commit }) };
    }
    if (event.kind === "zoo") yield { kind: "inner", of: "zoo", name, event: event.step };
    else yield { kind: "inner", of: "pull", name, event };
  }
  throw new Error(`${name} was not fetched to its end`);
}

/** Distinguishes the zoo's events from those of a pull, which have the same names. */
interface ZooStep {
  kind: "zoo";
  step: PullZooEvent;
}

async function* stepsOf(events: AsyncGenerator<PullZooEvent>): AsyncGenerator<ZooStep | Located, void> {
  for await (const event of events) yield event.kind === "located" ? event : { kind: "zoo", step: event };
}
