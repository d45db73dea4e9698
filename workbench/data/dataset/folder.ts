// Through folders on the disk, links followed: data sets are often put together of links to folders elsewhere.

import { createHash } from "node:crypto";
import { readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { chunksOf, openFile } from "../../../hub/files/byte-source.ts";
import { DataError, why } from "../errors.ts";
import { type SplitFiles, splitFiles } from "./split-files.ts";

export interface Entries {
  folders: string[];
  files: string[];
}

/**
 * Names in a folder but hidden ones, sorted. A link is what it leads to; one that leads nowhere is left out.
 * @throws what the system does when there is no such folder
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

export interface WalkedFolder {
  /** below the first one, with `/` at its end; empty for the first one itself */
  below: string;
  files: string[];
}

/**
 * A folder and all below it, each before those in it. A link back to a folder that it lies in is not followed.
 * @throws as entriesOf
 */
export async function* walk(folder: string): AsyncGenerator<WalkedFolder> {
  yield* walkBelow({ folder, below: "", within: [await realpath(folder)] });
}

/** @param within real paths of the folder and of those that led to it */
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
    if (!within.some((outer) => liesIn(outer, real)))
      yield* walkBelow({ folder: path, below: `${below}${name}/`, within: [...within, real] });
  }
}

/** Whether a folder is a link back to one that it lies in, or to the one that it stands in. Folders that are none are not. */
export async function leadsBack(folder: string): Promise<boolean> {
  return liesIn(await realpath(dirname(folder)), await realpath(folder));
}

/** Of real paths; a folder lies in itself. */
function liesIn(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : outer + sep);
}

// A data set's folder: the paths of its files, its README, and what identifies the bytes of a file. Links are followed,
// since the files of a snapshot are links to blobs named by their content.

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
