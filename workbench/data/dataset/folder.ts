// Folders of data sets on disk: their files, the files of a split, and the identity of a file's content. Symbolic links
// are followed, because the files of a Hub snapshot are links to blobs, and data sets are often assembled from links.

import { createHash } from "node:crypto";
import { readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { chunksOf, openFile } from "../../../hub/files/byte-source.ts";
import { DataError, why } from "../errors.ts";
import { type SplitFiles, splitFiles } from "./split-files.ts";

interface Entries {
  folders: string[];
  files: string[];
}

/**
 * Names in a folder, sorted, without hidden ones. A link counts as its target; a broken link is left out.
 * @throws the system's error if there is no such folder
 */
export async function entriesOf(folder: string): Promise<Entries> {
  const found: Entries = { folders: [], files: [] };
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.name.startsWith(".")) continue;
    const target = entry.isSymbolicLink() ? await stat(join(folder, entry.name)).catch(() => undefined) : entry;
    if (target?.isDirectory()) found.folders.push(entry.name);
    else if (target?.isFile()) found.files.push(entry.name);
  }
  found.folders.sort();
  found.files.sort();
  return found;
}

interface WalkedFolder {
  /** path relative to the first folder, ending in `/`; empty for the first folder itself */
  below: string;
  files: string[];
}

/**
 * Walks a folder and all folders below it, in pre-order. Links back to an enclosing folder are not followed.
 * @throws as `entriesOf` does
 */
export async function* walk(folder: string): AsyncGenerator<WalkedFolder> {
  yield* walkBelow({ folder, below: "", within: [await realpath(folder)] });
}

/** @param within real paths of the folder and of those it was reached through */
async function* walkBelow({
  folder,
  below,
  within,
}: {
  folder: string;
  below: string;
  within: readonly string[];
}): AsyncGenerator<WalkedFolder> {
  const { folders, files } = await entriesOf(folder);
  yield { below, files };
  for (const name of folders) {
    const path = join(folder, name);
    const real = await realpath(path);
    if (!within.some((enclosing) => liesIn(enclosing, real)))
      yield* walkBelow({ folder: path, below: `${below}${name}/`, within: [...within, real] });
  }
}

/** Whether a folder is a link to a folder that contains it. */
export async function leadsBack(folder: string): Promise<boolean> {
  return liesIn(await realpath(dirname(folder)), await realpath(folder));
}

/** Whether the real path `inner` is inside `outer` or equal to it. */
function liesIn(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : outer + sep);
}

/**
 * Files of a split of a data set's folder.
 * @throws DataError if the folder, the configuration, the split or its files do not exist
 */
export async function splitFilesOf(
  dataset: string,
  { config, split }: { config?: string | undefined; split: string },
): Promise<SplitFiles> {
  const paths = await pathsIn(dataset);
  const readme = paths.includes("README.md") ? await readFile(join(dataset, "README.md"), "utf8") : undefined;
  return splitFiles(paths, { dataset, readme, config, split });
}

/** Paths of all files of a data set except hidden ones. @throws DataError if there is no such folder */
export async function pathsIn(dataset: string): Promise<string[]> {
  const found: string[] = [];
  try {
    for await (const { below, files } of walk(dataset)) for (const name of files) found.push(`${below}${name}`);
  } catch (error) {
    const missing = (error as { code?: unknown }).code === "ENOENT";
    const problem = missing ? "no such folder; pull the data set first" : `cannot be read: ${why(error)}`;
    throw new DataError(dataset, problem, { cause: error });
  }
  return found;
}

interface FileIdentity {
  size: number;
  /** hash of the content: the name of the blob if the file is a link to one, else SHA-256 */
  content: string;
}

/** Size and hash of a file. @throws DataError if the file cannot be read */
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
