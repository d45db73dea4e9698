// Finds the files of a split of a configuration: by the data set's README if it declares them, else by the Hub's naming
// conventions. Works on paths alone, so that a split can be chosen before it is fetched.

import { DataError, listed, MissingSplitError } from "../errors.ts";
import { conventionalFiles, conventionalSplit } from "./conventions.ts";
import { globOf, globToRegExp, type ReadmeConfig, readmeConfigs } from "./readme-configs.ts";

interface SplitRequest {
  /** name of the data set in messages */
  dataset: string;
  readme?: string | undefined;
  config?: string | undefined;
  split: string;
}

/** The files of a split. Paths are relative to the data set's folder. */
export interface SplitFiles {
  config: string;
  split: string;
  /** in reading order */
  files: string[];
}

/**
 * Files of a split.
 * @param paths paths of all files of the data set, with `/` between folders
 * @throws DataError if the configuration or split is unknown (the message lists those that exist), or files are missing
 */
export function splitFiles(paths: readonly string[], { dataset, readme, config, split }: SplitRequest): SplitFiles {
  const declared = readmeConfigs(readme ?? "", `${dataset}: README.md`);
  if (declared.length > 0) {
    const chosen = chooseDeclared(declared, dataset, config);
    if (chosen.splits) return { config: chosen.name, ...declaredFiles(paths, chosen, { dataset, split }) };
    const found = conventionalFiles(paths, chosen.folder);
    return { config: chosen.name, ...conventional(found, { dataset, config: chosen.name, split }) };
  }
  const found = conventionalFiles(paths);
  if (found.length === 0) {
    throw new DataError(dataset, "has no text data: it contains no .parquet, .jsonl, .json or .txt file");
  }
  const name = chooseName(unique(found.map((file) => file.config)), { dataset, config });
  const ofConfig = found.filter((file) => file.config === name);
  return { config: name, ...conventional(ofConfig, { dataset, config: name, split }) };
}

/**
 * Glob patterns of the files to fetch for a split, README.md included. Given the paths of all files, exactly the files
 * of the split; given the README alone, what it declares; else every file that may belong to the split by convention.
 * @throws DataError as `splitFiles` does, as far as the given information allows
 */
export function dataFilePatterns(
  request: Omit<SplitRequest, "dataset"> & {
    dataset?: string;
    /** paths of all files of the repository, if known */
    files?: readonly string[];
  },
): string[] {
  const { dataset = "the data set", readme, config, split, files } = request;
  if (files) return ["README.md", ...splitFiles(files, { ...request, dataset }).files.map(globOf)];
  const declared = readmeConfigs(readme ?? "", `${dataset}: README.md`);
  if (declared.length > 0) {
    const chosen = chooseDeclared(declared, dataset, config);
    if (chosen.splits) return ["README.md", ...patternsOf(chosen, { dataset, split }).flatMap(forPulling)];
    return ["README.md", ...anywhere(chosen.folder, split)];
  }
  const folders = config === undefined || config === "default" ? ["", "data/", "*/"] : [`${globOf(config)}/`];
  return ["README.md", ...folders.flatMap((folder) => anywhere(folder, split))];
}

/**
 * Converts a glob pattern to patterns of a pull. In those, `**` + `/` does not match the empty path, so each one is
 * also written without it.
 */
function forPulling(pattern: string): string[] {
  const at = pattern.indexOf("**/");
  if (at < 0) return [pattern];
  const [before, after] = [pattern.slice(0, at), pattern.slice(at + 3)];
  return forPulling(after).flatMap((rest) => [`${before}**/${rest}`, `${before}${rest}`]);
}

/** Other names of a split by convention. */
const OTHER_NAMES: ReadonlyMap<string, readonly string[]> = new Map([
  ["validation", ["valid", "val", "dev"]],
  ["test", ["eval"]],
]);

/** Patterns of files with the split's name as a part of their own name or as a folder, by convention. */
function anywhere(folder: string, split: string): string[] {
  const canonical = conventionalSplit(split);
  const names = unique([split, canonical, ...(OTHER_NAMES.get(canonical) ?? [])]);
  return names.flatMap((name) => [
    `${folder}${globOf(name)}[-._]*`,
    `${folder}${globOf(name)}/*`,
    `${folder}*[-._]${globOf(name)}[-._]*`,
  ]);
}

function chooseDeclared(declared: readonly ReadmeConfig[], dataset: string, config: string | undefined): ReadmeConfig {
  const defaultName = declared.find(({ isDefault }) => isDefault)?.name;
  const names = declared.map(({ name }) => name);
  const name = chooseName(names, { dataset, config: config ?? defaultName });
  return declared.find((one) => one.name === name) as ReadmeConfig;
}

function chooseName(
  names: readonly string[],
  { dataset, config }: { dataset: string; config: string | undefined },
): string {
  if (config === undefined) {
    const only = names.length === 1 ? names[0] : names.find((name) => name === "default");
    if (only !== undefined) return only;
    throw new DataError(dataset, `has several configurations; choose one of ${listed(names)}`);
  }
  if (names.includes(config)) return config;
  throw new DataError(dataset, `has no configuration ${JSON.stringify(config)}; available: ${listed(names)}`);
}

function patternsOf(chosen: ReadmeConfig, { dataset, split }: { dataset: string; split: string }): string[] {
  const splits = chosen.splits as Map<string, string[]>;
  const patterns = splits.get(split);
  if (!patterns) throw unknownSplit([...splits.keys()], { dataset, config: chosen.name, split });
  return patterns.map((pattern) => `${chosen.folder}${pattern}`);
}

function declaredFiles(
  paths: readonly string[],
  chosen: ReadmeConfig,
  { dataset, split }: { dataset: string; split: string },
): { split: string; files: string[] } {
  const patterns = patternsOf(chosen, { dataset, split });
  const files = patterns.flatMap((pattern) => {
    const matcher = globToRegExp(pattern);
    return paths.filter((path) => matcher.test(path)).sort();
  });
  if (files.length > 0) return { split, files: unique(files) };
  throw new DataError(
    dataset,
    `lacks the files of split ${JSON.stringify(split)} of ${JSON.stringify(chosen.name)}: none matches ${listed(patterns)}; pull them`,
  );
}

function conventional(
  found: ReturnType<typeof conventionalFiles>,
  { dataset, config, split }: { dataset: string; config: string; split: string },
): { split: string; files: string[] } {
  const splits = unique(found.map((file) => file.split));
  const name = splits.includes(split) ? split : conventionalSplit(split);
  if (!splits.includes(name)) throw unknownSplit(splits, { dataset, config, split });
  return { split: name, files: found.filter((file) => file.split === name).map(({ path }) => path) };
}

function unknownSplit(
  splits: readonly string[],
  { dataset, config, split }: { dataset: string; config: string; split: string },
): MissingSplitError {
  return new MissingSplitError(
    dataset,
    split,
    ` in configuration ${JSON.stringify(config)}; available: ${listed(splits)}`,
  );
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
