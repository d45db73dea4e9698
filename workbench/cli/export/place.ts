// Where `gblr export` may write a file, or a folder with a file of another format than safetensors.

import { readdir, stat } from "node:fs/promises";
import { CommandFailed } from "../shared/program.ts";
import { expectPlaceForModel } from "../shared/stages.ts";

/**
 * Checks that a file may be written.
 * @param extension that files of the format have, with the dot
 * @param force whether a file of that name is replaced
 * @throws CommandFailed if there is a folder, or a file and not `force`
 */
export async function expectPlaceForFile(
  file: string,
  { extension, force }: { extension: string; force: boolean },
): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (found?.isDirectory()) {
    throw new CommandFailed(`${file} is a folder; give a file, or a folder without ${extension}`);
  }
  if (found && !force) throw new CommandFailed(`${file} exists; pass --force to replace it`);
}

/**
 * Checks that a model may be written to a folder in another format than safetensors.
 * @throws CommandFailed if it has another model, as `expectPlaceForModel`, or the weights of one
 */
export async function expectPlaceForFolder(folder: string, { force }: { force: boolean }): Promise<void> {
  await expectPlaceForModel(folder, { force });
  const names = await readdir(folder).catch(() => []);
  const weights = names.find((name) => name.endsWith(".safetensors"));
  if (weights === undefined) return;
  throw new CommandFailed(`${folder} has ${weights} of another model; give another folder, or that of the model`);
}
