// The fetch stage: finds the folder of a model or a data set by its name. A folder is used as it is. From a repository
// on the Hub, only the files that are needed are pulled. A checkpoint of the zoo and a GGUF file are converted into model
// folders.

import { readdir, readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { HubError } from "../../hub/access/hub-error.ts";
import type { CardFacts } from "../../hub/card/index.ts";
import { isGguf } from "../../hub/gguf/index.ts";
import { TRAINABLE_FILE } from "../../hub/model-folder/index.ts";
import { type Located, type LocateZoo, locate } from "../../hub/pull/locate.ts";
import { isZooName, zooEntry } from "../../hub/zoo/releases.ts";
import { dataFilePatterns, MissingSplitError } from "../data/index.ts";
import { readConfig, readConfigFields } from "../models/folder/load.ts";
import {
  type Architecture,
  architectureOf,
  COMPANION_FILES,
  isLanguageModel,
  languageSizes,
  MORE_TEMPLATE_FILES,
  type NewHead,
  type Preparation,
} from "../models/index.ts";
import { type PullZooEvent, pullZoo } from "../models/reference/index.ts";
import { fetchGguf } from "./fetch-gguf.ts";
import type { PipelineEvent, StageContext } from "./stage.ts";

/** A model or data set on the disk, and its origin. */
export interface Source {
  /** name as given: `owner/name@revision`, a folder, a GGUF file, or `zoo:name` */
  name: string;
  folder: string;
  /** `owner/name` of the repository, without the revision */
  repo?: string;
  /** commit of the repository */
  revision?: string;
  /** whether the weights are random */
  untrained?: boolean;
  /** new head that replaces the one in the folder, for classifiers */
  head?: NewHead;
  /** image preparation that overrides the one in the folder */
  preparation?: Preparation;
}

/**
 * The name in records: that of the repository without the revision, which is a separate field, or the name as given.
 */
export const baseName = ({ name, repo }: Source): string => repo ?? name;

/**
 * The base model in a model card: the repository, or for a folder the base model in its config.json. If that is
 * missing, it is the name of the folder, without a link; likewise for a GGUF file.
 */
export async function baseModelOf({ name, folder, repo }: Source): Promise<Pick<CardFacts, "baseModel" | "isFolder">> {
  if (repo !== undefined) return { baseModel: repo };
  if (isGguf(name)) return { baseModel: basename(name), isFolder: true };
  if (resolve(name) !== resolve(folder)) return { baseModel: name };
  const { gblr } = (await readConfigFields(folder)).json as { gblr?: { base_model?: unknown } };
  if (typeof gblr?.base_model === "string") return { baseModel: gblr.base_model };
  return { baseModel: basename(resolve(folder)), isFolder: true };
}

/** The structure of most layers of a model folder. */
export async function structureOf({ folder }: Source): Promise<string> {
  const { json } = await readConfigFields(folder);
  return (json.gblr as { structure?: string } | undefined)?.structure ?? "dense";
}

/** The context that the fetch stage needs. */
export type FetchContext = Pick<StageContext, "access" | "signal" | "zooRelease" | "openEngine" | "cache">;

/**
 * Files that a repository may lack. Files with settings are not among them, because results would differ without them.
 */
const OPTIONAL_FILES = [
  ...COMPANION_FILES.filter((name) => !name.endsWith("_config.json")),
  MORE_TEMPLATE_FILES,
  "README.md",
  "LICENSE*",
];

/** Files that inference needs. The same weights in other formats and trainable.safetensors are left out. */
export const MODEL_FILES = [
  "config.json",
  "model.safetensors",
  "model-*-of-*.safetensors",
  "model.safetensors.index.json",
  ...COMPANION_FILES,
  MORE_TEMPLATE_FILES,
  "README.md",
  "LICENSE*",
];

/** Files with weights in repositories without safetensors files. */
const OLD_WEIGHTS = ["pytorch_model*.bin", "pytorch_model.bin.index.json"];

export interface FetchModelOptions extends FetchContext {
  /** fetches trainable.safetensors too. Default false */
  trainable?: boolean;
}

/**
 * Fetches a model by its name. A name of the zoo needs an open engine, or `openEngine`.
 * @throws HubError if the repository does not exist or cannot be read
 */
export async function* fetchModel(
  name: string,
  { trainable = false, ...options }: FetchModelOptions,
): AsyncGenerator<PipelineEvent, Source> {
  const files = trainable ? [...MODEL_FILES, TRAINABLE_FILE] : MODEL_FILES;
  const source = yield* located(name, "model", files, options);
  if (source.revision === undefined || !(await lacksSafetensors(source.folder))) return source;
  return yield* located(name, "model", [...MODEL_FILES, ...OLD_WEIGHTS], options);
}

/** The kind of a model. */
export interface ModelKind {
  architecture: Architecture;
  /** longest sequence of a language model, in tokens. It is unknown for models of the zoo */
  positions?: number;
}

/** Determines the kind of a model. Fetches config.json only. */
export async function* fetchKind(name: string, options: FetchContext): AsyncGenerator<PipelineEvent, ModelKind> {
  if (isZooName(name)) return { architecture: architectureOf(zooEntry(name).modelType) };
  const { folder } = yield* located(name, "model", ["config.json"], options);
  const { architecture } = await readConfigFields(folder);
  if (!isLanguageModel({ architecture })) return { architecture };
  return { architecture, positions: languageSizes(await readConfig(folder)).positions };
}

const lacksSafetensors = async (folder: string): Promise<boolean> =>
  !(await readdir(folder)).some((file) => file.endsWith(".safetensors"));

/** A data set by name, and the splits to fetch. */
export interface DatasetSource {
  /** name as given: `owner/name@revision` or a folder */
  name: string;
  config: string | undefined;
  splits: readonly string[];
}

/**
 * Fetches the files of some splits of a data set.
 * @throws MissingSplitError if there is no such split; HubError if the repository does not exist or cannot be read
 */
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
  // Without a split, only the list of files is needed. Repositories on the Hub have one of these.
  const include = splits.length > 0 ? patterns.flat() : ["README.md", ".gitattributes"];
  return yield* located(name, "dataset", [...new Set(include)], options);
}

/** The card of a data set, which declares its splits. A data set without a card follows the conventions of the Hub. */
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
  { access, signal, zooRelease: release, openEngine, cache }: FetchContext,
): AsyncGenerator<PipelineEvent, Source> {
  if (type === "model" && isGguf(name)) return { name, folder: yield* fetchGguf(name, { cache, signal }) };
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

/** An event of the zoo, wrapped because events of pulls have the same kinds. */
interface ZooStep {
  kind: "zoo";
  step: PullZooEvent;
}

async function* stepsOf(events: AsyncGenerator<PullZooEvent>): AsyncGenerator<ZooStep | Located, void> {
  for await (const event of events) yield event.kind === "located" ? event : { kind: "zoo", step: event };
}
