// Makes the plain folder what a commit says. Every step can be done again, so that one who was killed in the middle, or
// his successor, begins anew; what the folder shows meanwhile does not count (repository.ts).

import { lstat, mkdir, rmdir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncFolder } from "../../files/atomic-file.ts";
import { quote } from "../../files/file-error.ts";
import { HubRefusal } from "../refusal.ts";
import type { HubCommit, HubFile } from "./commit-object.ts";
import type { ObjectStore } from "./objects.ts";

export interface FolderChange {
  /** the plain folder */
  folder: string;
  from: HubCommit;
  to: HubCommit;
}

/** Files that `to` has otherwise than `from`, and paths that it no longer has. */
export function difference({ from, to }: Omit<FolderChange, "folder">): { written: HubFile[]; removed: HubFile[] } {
  const before = new Map(from.files.map((file) => [file.path, file]));
  const after = new Set(to.files.map(({ path }) => path));
  return {
    written: to.files.filter((file) => before.get(file.path)?.sha256 !== file.sha256),
    removed: from.files.filter(({ path }) => !after.has(path)),
  };
}

/**
 * Whether the folder can take the change, before anything is promised.
 * @throws {HubRefusal} 409 if a link or another thing is in the way
 */
export async function checkWays(change: FolderChange): Promise<void> {
  const { written, removed } = difference(change);
  const leaving = new Set(removed.map(({ path }) => path));
  const seen = new Set<string>();
  for (const { path } of written) {
    const parts = path.split("/");
    for (let count = 1; count < parts.length; count++) {
      const parent = parts.slice(0, count).join("/");
      if (seen.has(parent) || leaving.has(parent)) continue;
      seen.add(parent);
      const stats = await lstat(join(change.folder, parent)).catch(() => undefined);
      if (stats && !stats.isDirectory()) {
        throw new HubRefusal(409, `${quote(parent)} is no folder in the Hub's own folder; remove it there`);
      }
    }
  }
}

/** All that `to` has otherwise than `from` must be in the object store. */
export async function checkOut(change: FolderChange, objects: ObjectStore): Promise<void> {
  const { folder } = change;
  const { written, removed } = difference(change);
  const touched = new Set<string>();
  for (const { path } of removed) {
    await removeFile(join(folder, path));
    await removeEmpty(folder, dirname(path));
  }
  for (const file of written) {
    const target = join(folder, file.path);
    await mkdir(dirname(target), { recursive: true });
    await objects.copyTo(file, target);
    touched.add(dirname(target));
  }
  for (const place of touched) await syncFolder(place);
}

/** Git knows no empty folders. */
async function removeEmpty(folder: string, path: string): Promise<void> {
  for (let at = path; at !== "."; at = dirname(at)) {
    const removed = await rmdir(join(folder, at)).then(
      () => true,
      () => false,
    );
    if (!removed) return;
  }
}

/** Removed before, and by now there may be a folder in the file's place, or a file in its folder's. */
async function removeFile(path: string): Promise<void> {
  await unlink(path).catch(async (error: NodeJS.ErrnoException) => {
    if (["ENOENT", "ENOTDIR"].includes(error.code ?? "")) return;
    if (!(await lstat(path)).isDirectory()) throw error;
  });
}
