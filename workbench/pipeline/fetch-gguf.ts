// Fetches a model from a GGUF file on the disk: imports it into a model folder in the cache, once for each state of the
// file. The folder is complete or absent, also if several processes import the same file.

import { createHash } from "node:crypto";
import { mkdir, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { reason } from "../../hub/files/byte-source.ts";
import { GgufError, partsOf } from "../../hub/gguf/index.ts";
import { CONFIG_FILE, ModelError } from "../../hub/model-folder/index.ts";
import { importGguf } from "../models/weights/index.ts";
import type { PipelineEvent, StageContext } from "./stage.ts";

/** Incremented whenever the same file would be imported differently. */
const VERSION = 1;

/**
 * The model folder of a GGUF file.
 * @throws GgufError if there is no such file, it is damaged, or its model is not supported
 */
export async function* fetchGguf(
  file: string,
  { cache, signal }: Pick<StageContext, "cache" | "signal">,
): AsyncGenerator<PipelineEvent, string> {
  const models = join(cache, "models");
  const folder = join(models, await keyOf(file));
  if (await exists(join(folder, CONFIG_FILE))) return folder;
  const draft = `${folder}.${process.pid}`;
  await mkdir(models, { recursive: true }).catch((error: unknown) => {
    const problem = `cannot be made: ${reason(error)}; set GBLR_CACHE to a folder that can be written`;
    throw new ModelError(problem, { file: models }, { cause: error });
  });
  await removeLeftovers(models);
  try {
    for await (const event of importGguf(file, { out: draft })) {
      signal.throwIfAborted();
      if (event.kind !== "imported") yield { kind: "inner", of: "import", file, event };
    }
    await rename(draft, folder).catch(async (error: unknown) => {
      // Another process was faster.
      if (!(await exists(join(folder, CONFIG_FILE)))) throw error;
    });
    return folder;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** Name of a folder that an import writes before it is renamed: the key of the file and the process. */
const DRAFT = /^[0-9a-f]{32}\.\d+$/;
/** milliseconds; imports take minutes */
const LONGEST_IMPORT = 24 * 60 * 60 * 1000;

/**
 * Removes the drafts of imports that were killed. They are recognized by their age, because an import that still runs
 * may belong to another container with the same cache, whose processes cannot be seen.
 */
async function removeLeftovers(models: string): Promise<void> {
  for (const name of (await readdir(models)).filter((each) => DRAFT.test(each))) {
    const found = await stat(join(models, name)).catch(() => undefined);
    if (!found || Date.now() - found.mtimeMs < LONGEST_IMPORT) continue;
    // One that cannot be removed only takes space.
    await rm(join(models, name), { recursive: true, force: true }).catch(() => {});
  }
}

/** Identifies a state of a file, and of the other files of its model if there are several. */
async function keyOf(file: string): Promise<string> {
  if (!(await stat(file).catch(() => undefined))?.isFile()) {
    throw new GgufError("is not a file; give the path of a .gguf file, or a model folder", { file });
  }
  const states = await Promise.all(partsOf(file).map(stateOf));
  return createHash("sha256")
    .update(JSON.stringify([states, VERSION]))
    .digest("hex")
    .slice(0, 32);
}

/** The state of a file; undefined if there is none. */
async function stateOf(file: string): Promise<[path: string, size: number, mtime: number] | undefined> {
  const found = await stat(file).catch(() => undefined);
  return found && [await realpath(file), found.size, found.mtimeMs];
}

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;
