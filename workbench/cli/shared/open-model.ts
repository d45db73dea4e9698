// A model by the name that a user gives it, opened with progress: found in a folder or pulled from the Hub, then loaded
// into the open engine. For every verb that runs a model.

import { access, constants, readdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import type { HubAccess } from "../../../hub/access/repository.ts";
import { CONFIG_FILE, TRAINABLE_FILE } from "../../../hub/model-folder/index.ts";
import { type Located, locate } from "../../../hub/pull/locate.ts";
import { isZooName } from "../../../hub/zoo/releases.ts";
import { type LoadOptions, loadModel, type Model } from "../../models/index.ts";
import { lacksSafetensors, MODEL_FILES, OLD_WEIGHTS, OPTIONAL_FILES } from "../../pipeline/fetch.ts";
import { showPull } from "../pull.ts";
import { pullZooWithProgress } from "../pull-zoo.ts";
import { withHub } from "./hub-access.ts";
import { CommandFailed } from "./program.ts";
import { progressBar } from "./progress.ts";

interface LocateModelOptions {
  signal?: AbortSignal | undefined;
  /** fetch trainable factors besides what a model is run from. Default false */
  trainable?: boolean;
}

/** Bar and all; the Hub is only asked for a name that is no folder. A name of the zoo opens an engine. */
export async function locateModel(
  name: string,
  { signal, trainable = false }: LocateModelOptions = {},
): Promise<Located> {
  return withHub(process.env, async (access) => {
    if (isZooName(name)) return pullZooWithProgress(name, access, { env: process.env, signal });
    const include = trainable ? [...MODEL_FILES, TRAINABLE_FILE] : MODEL_FILES;
    const located = await locateFiles(name, access, { include, signal });
    if (located.repo === undefined || !(await lacksSafetensors(located.folder))) return located;
    return locateFiles(name, access, { include: [...MODEL_FILES, ...OLD_WEIGHTS], signal });
  });
}

async function locateFiles(
  name: string,
  access: HubAccess,
  { include, signal }: { include: readonly string[]; signal: AbortSignal | undefined },
): Promise<Located> {
  const bar = progressBar({ label: name });
  try {
    for await (const event of locate(name, "model", access, { include, optional: OPTIONAL_FILES, signal })) {
      if (event.kind === "located") return event;
      showPull(event, bar);
    }
  } finally {
    bar.stop();
  }
  throw new CommandFailed(`${name}: the pull ended early`);
}

/** Into the engine that is open. */
export async function loadWithProgress(folder: string, options: LoadOptions = {}): Promise<Model> {
  const bar = progressBar({ label: "loading" });
  try {
    for await (const event of loadModel(folder, options)) {
      if (event.kind === "loaded") return event.model;
      if (event.kind === "opened") bar.setTotal(event.bytes);
      else bar.advance(event.bytes);
    }
  } finally {
    bar.stop();
  }
  throw new CommandFailed(`${folder}: the load ended early`);
}

/** @throws CommandFailed when a model is there already and may not be replaced, or the place takes no folder */
export async function expectPlaceForModel(out: string, { force }: { force: boolean }): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new CommandFailed(`${out} cannot be made a folder: ${error.code === "ENOTDIR" ? "a file is there" : error}`);
  });
  const [existing] = names.filter((name) => name === CONFIG_FILE || /\.safetensors(\.index\.json)?$/.test(name)).sort();
  if (existing && !force) throw new CommandFailed(`${out} has ${existing} already; pass --force to replace it`);
  const place = await nearestFolder(resolve(out));
  await access(place, constants.W_OK).catch(() => {
    throw new CommandFailed(`${out} cannot be written: no writing is allowed in ${place}`);
  });
}

/** The folder itself, or the one that it would be made in. */
async function nearestFolder(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() || dirname(path) === path) return path;
  if (found) throw new CommandFailed(`${path} cannot be made a folder: a file is there`);
  return nearestFolder(dirname(path));
}
