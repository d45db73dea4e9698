// Runs the stages of a verb with the Hub and the caches of the environment variables. It shows progress on stderr, and
// Ctrl-C stops the stages.

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
  /** message after Ctrl-C: what is kept, and how to resume */
  interrupted: string;
  /** whether only the cache is used. Default: according to HF_HUB_OFFLINE */
  offline?: boolean | undefined;
  /** the verb prints a JSON document: no lines of progress are written if stderr is not a terminal. Default false */
  json?: boolean | undefined;
  /** whether events are not printed on stdout, because the verb prints its result there. Default true */
  silent?: boolean;
  /** whether events are not shown at all, because another process shows them. Default false */
  quiet?: boolean;
  /** called with each event, for verbs that print events themselves */
  show?: (event: Event) => void;
}

/**
 * Runs the stages of a verb and shows their events.
 * @param stages composes the stages
 * @returns the result of `stages`
 */
export function runStages<Event extends ViewEvent, Result>(
  { interrupted, offline = false, json = false, silent = true, quiet = false, show }: StagesOptions<Event>,
  stages: (context: StageContext, named: EndpointName) => AsyncGenerator<Event, Result>,
): Promise<Result> {
  return interruptible(interrupted, (signal) =>
    withHub(process.env, async (access, named) => {
      const view = new PipelineView({ silent, progressLines: !json });
      const context = {
        access: { ...access, ...(offline && { offline }) },
        zooRelease: zooReleaseOf(process.env),
        openEngine: () => openEngine(),
        cache: workbenchCache(process.env),
        signal,
      };
      try {
        return await resultOf(stages(context, named), (event) => {
          if (!quiet) view.show(event);
          show?.(event);
        });
      } finally {
        view.stop();
      }
    }),
  );
}

/**
 * Checks, before any work, that a model can be written to a folder.
 * @throws CommandFailed if it has a model and `force` is false, or if the folder cannot be created or written
 */
export async function expectPlaceForModel(out: string, { force }: { force: boolean }): Promise<void> {
  const names = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new CommandFailed(
      `${out} cannot be created: ${error.code === "ENOTDIR" ? "a file is in the way" : error}; give another folder`,
    );
  });
  const [existing] = names.filter((name) => name === CONFIG_FILE || /\.safetensors(\.index\.json)?$/.test(name)).sort();
  if (existing && !force) throw new CommandFailed(`${out} already has ${existing}; pass --force to replace it`);
  const place = await nearestFolder(resolve(out));
  await access(place, constants.W_OK).catch(() => {
    throw new CommandFailed(`${out} cannot be written: no permission to write in ${place}; give another folder`);
  });
}

/** The folder itself if it exists, else its nearest existing parent. */
async function nearestFolder(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() || dirname(path) === path) return path;
  if (found) throw new CommandFailed(`${path} cannot be created: a file is in the way; give another folder`);
  return nearestFolder(dirname(path));
}
