// Replaces several files of a folder together: config.json and the tensors that it describes. Only single renames are
// atomic, so a list of all renames is written first. From then on the new files are valid. Any later call that finds
// the list completes the renames, also after a power failure. Programs that ignore the list can see old and new files
// side by side during the renames.

import { readFile, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { type StagedFile, syncFolder, writeFileAtomically } from "../files/atomic-file.ts";
import { reason } from "../files/byte-source.ts";
import { jsonOrUndefined } from "../text/json.ts";
import { ModelError } from "./layer-tensors.ts";

/** The file with the orders of units of a model that was reordered. It is not needed to load the model. */
export const REORDER_FILE = "reorder.json";

const LIST_FILE = ".replacing.json";

/** The files of a replacement. */
export interface Replacement {
  /** finished files for this folder */
  staged: readonly StagedFile[];
  /** names of files to remove */
  removed?: readonly string[];
}

interface List {
  /** temporary name and name of each file */
  renamed: [string, string][];
  removed: string[];
}

/**
 * Replaces files of a folder, all or none of them.
 * @throws ModelError when they cannot be written; they are then discarded unless some were renamed
 */
export async function replaceFiles(folder: string, { staged, removed = [] }: Replacement): Promise<void> {
  const renamed = staged.map(({ temporary, path }): [string, string] => [basename(temporary), basename(path)]);
  try {
    await writeFileAtomically(join(folder, LIST_FILE), JSON.stringify({ renamed, removed }));
  } catch (error) {
    await Promise.all(staged.map((file) => file.discard()));
    throw new ModelError(`cannot be written: ${reason(error)}`, { file: folder }, { cause: error });
  }
  await finishReplacing(folder);
}

/**
 * Completes an interrupted replacement, if there is one.
 * @throws ModelError when files cannot be renamed or removed
 */
export async function finishReplacing(folder: string): Promise<void> {
  const file = join(folder, LIST_FILE);
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return;
  const { renamed, removed } = checked(text, file);
  try {
    for (const [from, to] of renamed) await unlessDone(rename(join(folder, from), join(folder, to)));
    for (const name of removed) await rm(join(folder, name), { force: true });
    await syncFolder(folder);
    await rm(file, { force: true });
  } catch (error) {
    throw new ModelError(`cannot be carried out: ${reason(error)}`, { file }, { cause: error });
  }
}

/** Ignores a missing file, which another process, or this one before it was interrupted, has renamed. */
async function unlessDone(renaming: Promise<void>): Promise<void> {
  await renaming.catch((error: unknown) => {
    if ((error as { code?: unknown }).code !== "ENOENT") throw error;
  });
}

/** Checks the list, because a folder can come from anywhere: it may only name files that this module writes. */
function checked(text: string, file: string): List {
  const { renamed, removed } = (jsonOrUndefined(text) ?? {}) as Partial<List>;
  const isOurs =
    Array.isArray(renamed) && renamed.every(isRename) && Array.isArray(removed) && removed.every(isModelFile);
  if (!isOurs) throw new ModelError("is not a list of files to replace; remove it", { file });
  return { renamed, removed };
}

const isName = (name: unknown): name is string =>
  typeof name === "string" && /^[\w.-]+$/.test(name) && !/^\.+$/.test(name);
const isModelFile = (name: unknown) =>
  isName(name) && (name === REORDER_FILE || /\.safetensors(\.index\.json)?$/.test(name));
const isRename = (pair: unknown) => {
  const [from, to] = Array.isArray(pair) ? pair : [];
  return isName(from) && isName(to) && from.startsWith(`.${to}.`) && from.endsWith(".tmp");
};
