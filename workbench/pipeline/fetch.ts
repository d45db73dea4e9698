// Where an experiment's model and data come from: folders as they are, repositories pulled from the Hub, and of those no
// more than is needed; released checkpoints made into models.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { HubError } from "../../hub/access/hub-error.ts";
import type { HubAccess } from "../../hub/access/repository.ts";
import { TRAINABLE_FILE } from "../../hub/model-folder/index.ts";
import { type Located, type LocateZoo, locate } from "../../hub/pull/locate.ts";
import { isZooName, zooEntry } from "../../hub/zoo/releases.ts";
import { DataError, dataFilePatterns } from "../data/index.ts";
import { readConfig } from "../models/folder/load.ts";
import {
  type Architecture,
  architectureOf,
  COMPANION_FILES,
  type LoadOptions,
  loadModelNow,
  type Model,
  type NewHead,
  type Preparation,
} from "../models/index.ts";
import { type PullZooEvent, pullZoo } from "../models/reference/index.ts";
import type { ExperimentEvent } from "./stage.ts";

export interface Source {
  /** as it was named, `owner/name@revision` or a folder */
  name: string;
  folder: string;
  /** commit, of a repository */
  revision?: string;
  /** it has learned nothing yet */
  untrained?: boolean;
  /** of a classifier that is started from with another head than it has there */
  head?: NewHead;
  /** of such a one's images, where it is not as it says there */
  preparation?: Preparation;
}

/** A model as an experiment starts from it. */
export const loadSource = ({ folder, head, preparation }: Source, options: LoadOptions = {}): Promise<Model> =>
  loadModelNow(folder, { ...options, head, preparation });

/** A repository's name without its revision, which is told beside it. */
export const baseName = ({ name, revision }: Source): string =>
  revision === undefined ? name : name.replace(/@[^@]*$/, "");

export interface LocateOptions {
  access: HubAccess;
  signal: AbortSignal;
  /** address of another copy of the zoo */
  zooRelease?: string | undefined;
}

/** What a model can do without, or is missed by name when it is used. Settings are neither: without them figures differ. */
export const OPTIONAL_FILES = [
  ...COMPANION_FILES.filter((name) => !name.endsWith("_config.json")),
  "README.md",
  "LICENSE*",
];

/** What a model is run from: not the same weights in other formats, nor the factors that it is trained on by. */
export const MODEL_FILES = [
  "config.json",
  "model.safetensors",
  "model-*-of-*.safetensors",
  "model.safetensors.index.json",
  ...COMPANION_FILES,
  "README.md",
  "LICENSE*",
];

/** Weights of repositories from before safetensors. */
export const OLD_WEIGHTS = ["pytorch_model*.bin", "pytorch_model.bin.index.json"];

export interface LocateModelOptions extends LocateOptions {
  /** fetch trainable factors besides what a model is run from. Default false */
  trainable?: boolean;
}

/** An engine must be open for a name of the zoo. */
export async function* locateModel(
  name: string,
  { trainable = false, ...options }: LocateModelOptions,
): AsyncGenerator<ExperimentEvent, Source> {
  const files = trainable ? [...MODEL_FILES, TRAINABLE_FILE] : MODEL_FILES;
  const source = yield* located(name, "model", files, options);
  if (source.revision === undefined || !(await lacksSafetensors(source.folder))) return source;
  return yield* located(name, "model", [...MODEL_FILES, ...OLD_WEIGHTS], options);
}

/** What a model is, of which no more than config.json is fetched. */
export async function* locateArchitecture(
  name: string,
  options: LocateOptions,
): AsyncGenerator<ExperimentEvent, Architecture> {
  if (isZooName(name)) return architectureOf(zooEntry(name).modelType);
  const { folder } = yield* located(name, "model", ["config.json"], options);
  return (await readConfig(folder)).architecture;
}

export const lacksSafetensors = async (folder: string): Promise<boolean> =>
  !(await readdir(folder)).some((file) => file.endsWith(".safetensors"));

export interface DatasetSource {
  /** as it was named */
  name: string;
  config: string | undefined;
  splits: readonly string[];
}

export async function* locateDataset(
  { name, config, splits }: DatasetSource,
  options: LocateOptions,
): AsyncGenerator<ExperimentEvent, Source> {
  const readme = yield* readCard(name, options);
  const patterns = splits.map((split) => dataFilePatterns({ dataset: name, readme, config, split }));
  for (const [i, split] of splits.entries()) {
    try {
      const own = (patterns[i] as string[]).filter((pattern) => pattern !== "README.md");
      yield* located(name, "dataset", own, options);
    } catch (error) {
      if (!(error instanceof HubError) || error.code !== "no-match") throw error;
      const inside = config === undefined ? "" : ` in configuration "${config}"`;
      throw new DataError(name, `has no split "${split}"${inside}, by its card or by the names of its files`);
    }
  }
  return yield* located(name, "dataset", [...new Set(patterns.flat())], options);
}

/** The card says where splits are; a data set without one keeps to the Hub's conventions. */
async function* readCard(name: string, options: LocateOptions): AsyncGenerator<ExperimentEvent, string | undefined> {
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
  { access, signal, zooRelease: release }: LocateOptions,
): AsyncGenerator<ExperimentEvent, Source> {
  const zoo: LocateZoo<ZooStep> = (name, access, { signal }) => stepsOf(pullZoo(name, access, { release, signal }));
  const optional = type === "model" ? OPTIONAL_FILES : ["README.md"];
  for await (const event of locate(name, type, access, { include, optional, signal, zoo })) {
    if (event.kind === "located") {
      const { folder, commit } = event;
      return { name, folder, ...(commit && { revision: commit }) };
    }
    if (event.kind === "zoo") yield { kind: "inner", of: "zoo", event: event.step };
    else yield { kind: "inner", of: "pull", event };
  }
  throw new Error(`${name} was not located to its end`);
}

/** Told apart from the steps of a pull, which have the same names. */
interface ZooStep {
  kind: "zoo";
  step: PullZooEvent;
}

async function* stepsOf(events: AsyncGenerator<PullZooEvent>): AsyncGenerator<ZooStep | Located, void> {
  for await (const event of events) yield event.kind === "located" ? event : { kind: "zoo", step: event };
}
