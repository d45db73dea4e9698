// From what a user calls a recipe to its file: the name of one of this package's, or the path of another.

import { readdir, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "../program.ts";

const RECIPES = fileURLToPath(new URL("../../../recipes/", import.meta.url));

export interface RecipeFile {
  name: string;
  path: string;
}

/** @throws UsageError, with the names that there are */
export async function recipeFile(text: string): Promise<RecipeFile> {
  const name = basename(text).replace(/\.ts$/, "");
  const path = name === text ? resolve(RECIPES, `${name}.ts`) : resolve(text);
  if ((await stat(path).catch(() => undefined))?.isFile()) return { name, path };
  const files = (await readdir(RECIPES)).filter((file) => file.endsWith(".ts"));
  const known = files.map((file) => file.slice(0, -3)).sort();
  throw new UsageError(`there is no recipe "${text}": there is ${known.join(", ")}, or give the path of a file`);
}
