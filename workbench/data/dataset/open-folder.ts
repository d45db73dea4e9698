// A data set's folder: the paths of its files, its README, and what identifies the bytes of a file. Links are followed,
// since the files of a snapshot are links to blobs named by their content.

import { createHash } from "node:crypto";
import { readFile, readlink, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { chunksOf, openFile } from "../../../hub/files/byte-source.ts";
import { DataError, why } from "../errors.ts";
import { type SplitFiles, splitFiles } from "./data-files.ts";
import { walk } from "./walk.ts";

/** @throws DataError when the folder, the configuration, the split or its files are not there */
export async function splitFilesOf(
  dataset: string,
  { config, split }: { config?: string | undefined; split: string },
): Promise<SplitFiles> {
  const paths = await pathsIn(dataset);
  const readme = paths.includes("README.md") ? await readFile(join(dataset, "README.md"), "utf8") : undefined;
  return splitFiles(paths, { dataset, readme, config, split });
}

/** Of all its files, but those that are hidden. @throws DataError when there is no such folder */
export async function pathsIn(dataset: string): Promise<string[]> {
  const found: string[] = [];
  try {
    for await (const { below, files } of walk(dataset)) for (const name of files) found.push(`${below}${name}`);
  } catch (error) {
    const missing = (error as { code?: unknown }).code === "ENOENT";
    const problem = missing
      ? "no such folder; a data set is a folder here, pull it first"
      : `cannot be read: ${why(error)}`;
    throw new DataError(dataset, problem, { cause: error });
  }
  return found;
}

export interface FileIdentity {
  size: number;
  /** hash of the content: the name of the blob where the file is a link to one, else SHA-256 */
  content: string;
}

/** @throws DataError when the file cannot be read */
export async function identityOf(path: string, signal?: AbortSignal): Promise<FileIdentity> {
  const blob = await readlink(path).catch(() => undefined);
  if (
    blob !== undefined &&
    basename(dirname(blob)) === "blobs" &&
    /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(basename(blob))
  ) {
    return { size: (await stat(path)).size, content: basename(blob) };
  }
  const source = await openFile(path, (problem, options) => new DataError(path, problem, options));
  try {
    const hash = createHash("sha256");
    for await (const chunk of chunksOf(source, { start: 0, end: source.size })) {
      signal?.throwIfAborted();
      hash.update(chunk);
    }
    return { size: source.size, content: hash.digest("hex") };
  } finally {
    await source.close();
  }
}
