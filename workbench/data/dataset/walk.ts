// Through folders on the disk, links followed: data sets are often put together of links to folders elsewhere.

import { readdir, realpath, stat } from "node:fs/promises";
import { dirname, join, sep } from "node:path";

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
