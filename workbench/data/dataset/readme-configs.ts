// The configurations that a data set's README declares in its YAML front matter (`configs:`), in every form that the
// Hub allows: a pattern, a list of patterns, a map from split to patterns, or a list of `{ split, path }`. Also
// converts the patterns to regular expressions.

import { parse } from "yaml";
import { z } from "zod";
import { mapOf } from "../../../hub/text/json.ts";
import { DataError, why } from "../errors.ts";

/** A configuration that a README declares. */
export interface ReadmeConfig {
  name: string;
  isDefault: boolean;
  /** patterns relative to `folder`, by split; undefined if the README leaves the files to the Hub's conventions */
  splits: Map<string, string[]> | undefined;
  /** folder of its files, ending in `/`; empty for the whole repository */
  folder: string;
}

const Paths = z.union([z.string().transform((path) => [path]), z.array(z.string())]);
const SplitPaths = z.object({ split: z.union([z.string(), z.number()]).transform(String), path: Paths });
const Declared = z.looseObject({
  config_name: z.union([z.string(), z.number()]).transform(String).default("default"),
  data_files: z.union([Paths, z.array(SplitPaths), SplitPaths, mapOf(Paths)]).nullish(),
  data_dir: z.string().nullish(),
  default: z.boolean().nullish(),
});
const FrontMatter = z.looseObject({
  configs: z.union([z.array(Declared), Declared.transform((one) => [one])]).nullish(),
});

/**
 * Parses the YAML front matter of a README.
 * @param file name of the README in messages
 * @returns undefined if there is none
 * @throws DataError if it is invalid YAML
 */
export function frontMatter(readme: string, file: string): unknown {
  const front = /^\uFEFF?---[ \t]*\r?\n(.*?)(?:^|\n)---[ \t]*(?:\r?\n|$)/s.exec(readme)?.[1];
  if (front === undefined) return undefined;
  try {
    return parse(front) ?? {};
  } catch (error) {
    throw new DataError(file, `its front matter is not valid YAML: ${why(error)}`, { cause: error });
  }
}

/**
 * The configurations that a README declares; empty if it declares none.
 * @param file name of the README in messages
 * @throws DataError if its front matter is invalid YAML, or has a form that the Hub does not allow
 */
export function readmeConfigs(readme: string, file: string): ReadmeConfig[] {
  const yaml = frontMatter(readme, file);
  if (yaml === undefined) return [];
  const result = FrontMatter.safeParse(yaml);
  if (!result.success) {
    const path = result.error.issues[0]?.path.join(".");
    throw new DataError(
      file,
      `its front matter has an invalid ${path || "form"}; see the Hub's documentation of data set cards`,
    );
  }
  const configs = result.data.configs ?? [];
  return configs.map((declared) => ({
    name: declared.config_name,
    isDefault: declared.default === true,
    splits: declared.data_files ? bySplit(declared.data_files) : undefined,
    folder: folderOf(declared.data_dir ?? ""),
  }));
}

function bySplit(files: NonNullable<z.infer<typeof Declared>["data_files"]>): Map<string, string[]> {
  if (Array.isArray(files)) {
    // Patterns without a split are training data.
    const pairs = files.map((entry) => (typeof entry === "string" ? { split: "train", path: [entry] } : entry));
    return collect(pairs);
  }
  if (files instanceof Map) return collect(Array.from(files, ([split, path]) => ({ split, path })));
  return collect([files]);
}

function collect(pairs: readonly { split: string; path: string[] }[]): Map<string, string[]> {
  const splits = new Map<string, string[]>();
  for (const { split, path } of pairs) splits.set(split, [...(splits.get(split) ?? []), ...path.map(relative)]);
  return splits;
}

/** Removes `./` and `/` from the start of a path. */
function relative(path: string): string {
  return path.replace(/^(\.?\/)+/, "");
}

function folderOf(path: string): string {
  const folder = relative(path).replace(/\/+$/, "");
  return folder === "" || folder === "." ? "" : `${folder}/`;
}

/**
 * Converts a glob pattern of a README: `*` and `?` match within a folder, `**` across folders, `[0-9]` is a set. Unlike
 * in a shell there are no braces, no special rules for hidden files, and no escapes except sets of one, such as `[[]`.
 * @param pattern relative, with `/` between folders
 */
export function globToRegExp(pattern: string): RegExp {
  let source = "";
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i] as string;
    const set = character === "[" ? /^\[[!^]?\]?[^\]]*\]/.exec(pattern.slice(i))?.[0] : undefined;
    if (set) {
      source += toSet(set);
      i += set.length - 1;
    } else if (pattern.startsWith("**/", i)) {
      source += "(?:[^/]+/)*";
      i += 2;
    } else if (pattern.startsWith("**", i)) {
      source += ".*";
      i += 1;
    } else if (character === "*") source += "[^/]*";
    else if (character === "?") source += "[^/]";
    else source += literal(character);
  }
  return new RegExp(`^${source}$`, "s");
}

/** Escapes a path, so that the pattern matches this path only. */
export function globOf(path: string): string {
  return path.replace(/[*?[]/g, "[$&]");
}

/** A set whose range is empty, such as `[9-0]`, matches nothing, as in Python's fnmatch. */
function toSet(set: string): string {
  const negated = /^\[[!^]/.test(set);
  const members = set.slice(negated ? 2 : 1, -1).replace(/[\\\][^]/g, "\\$&");
  const source = `[${negated ? "^/" : ""}${members}]`;
  try {
    return new RegExp(source).source;
  } catch {
    return "(?!)";
  }
}

function literal(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|]/, "\\$&");
}
