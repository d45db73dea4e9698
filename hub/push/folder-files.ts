// The files of a folder that are for a repository: all but what systems, editors, git and unfinished work leave there.

import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { describePatterns, type FilePatterns, fileFilter } from "../access/file-patterns.ts";
import { HubError } from "../access/hub-error.ts";
import { checkFileName } from "../cache/paths.ts";
import { reason } from "../files/byte-source.ts";

export interface LocalFile {
  /** in the repository, with slashes */
  path: string;
  /** on this machine */
  source: string;
  /** bytes */
  size: number;
}

/** Names of files and folders that are never pushed, wherever they are. */
const NEVER = [
  ".git",
  ".cache",
  ".DS_Store",
  "Thumbs.db",
  "__pycache__",
  "*.pyc",
  ".*.tmp",
  "*.incomplete",
  "checkpoints",
  "checkpoint-*",
];

const never = fileFilter({ include: NEVER });

/** Sorted by path. @throws HubError if there is none, or the folder cannot be read */
export async function folderFiles(folder: string, patterns: FilePatterns): Promise<LocalFile[]> {
  const files: LocalFile[] = [];
  try {
    await walk({ folder, prefix: "", above: [] }, files);
  } catch (error) {
    if (error instanceof HubError) throw error;
    throw new HubError("no-access", `${folder} cannot be pushed: ${reason(error)}`, { cause: error });
  }
  const chosen = files.filter(({ path }) => fileFilter(patterns)(path));
  if (chosen.length === 0) {
    const which = describePatterns(patterns);
    throw new HubError("no-match", `${folder} has no file${which ? ` that ${which}` : ""}; there is nothing to push`);
  }
  return chosen.sort((a, b) => (a.path < b.path ? -1 : 1));
}

interface Walk {
  folder: string;
  /** of the paths in the repository */
  prefix: string;
  /** real paths of the folders that this one is in */
  above: readonly string[];
}

async function walk({ folder, prefix, above }: Walk, files: LocalFile[]): Promise<void> {
  const here = await realpath(folder);
  if (above.includes(here)) throw new HubError("no-access", `${folder} is a link to a folder that it is in`);
  for (const name of await readdir(folder)) {
    if (never(name)) continue;
    const source = join(folder, name);
    const path = checkFileName(`${prefix}${name}`);
    // Through links: a snapshot of the cache is made of them.
    const status = await stat(source);
    if (status.isDirectory()) await walk({ folder: source, prefix: `${path}/`, above: [...above, here] }, files);
    else if (status.isFile()) files.push({ path, source, size: status.size });
  }
}
