// Runs stages of the pipeline for a verb: with the Hub and the caches of the environment, progress on stderr, and
// Ctrl-C as the signal that ends them.

import { access, constants, readdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { workbenchCache } from "../../../hub/cache/paths.ts";
import { CONFIG_FILE } from "../../../hub/model-folder/index.ts";
import { openEngine } from "../../engine/core/open.ts";
import { resultOf, type StageContext } from "../../pipeline/stage.ts";
import { zooReleaseOf } from "../pull-zoo.ts";
import { type EndpointName, withHub } from "./hub-access.ts";
import { CommandFailed, interruptible } from "./program.ts";
import { PipelineView, type ViewEvent } from "./view.ts";

interface StagesOptions<Event> {
  /** what the user reads after Ctrl-C: what is kept, how to go on */
  interrupted: string;
  /** take everything from the cache or not at all. Default as the environment says */
  offline?: boolean | undefined;
  /** prints nothing on stdout. Default true: the verb prints its result */
  silent?: boolean;
  /** what the verb prints of an event itself */
  show?: (event: Event) => void;
}

/** @param stages the verb's composition; its events are shown, its result is returned */
export function runStages<Event extends ViewEvent, Result>(
  { interrupted, offline = false, silent = true, show }: StagesOptions<Event>,
  stages: (context: StageContext, named: EndpointName) => AsyncGenerator<Event, Result>,
): Promise<Result> {
  return interruptible(interrupted, (signal) =>
    withHub(process.env, async (access, named) => {
      const view = new PipelineView({ silent });
      const context = {
        access: { ...access, ...(offline && { offline }) },
        zooRelease: zooReleaseOf(process.env),
        openEngine: () => openEngine(),
        cache: workbenchCache(process.env),
        signal,
      };
      try {
        return await resultOf(stages(context, named), (event) => {
          view.show(event);
          show?.(event);
        });
      } finally {
        view.stop();
      }
    }),
  );
}

/**
 * Checks the folder that a verb is going to write a model to, before the work.
 * @throws CommandFailed when a model is there that may not be replaced, or no folder can be made or written there
 */
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
