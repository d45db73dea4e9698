// The folder that a verb is to write a model to, checked before the work begins: an hour's work must not end at a folder
// that takes no file.

import { access, constants, readdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { CONFIG_FILE } from "../../hub/model-folder/index.ts";
import { CommandFailed } from "./program.ts";

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
