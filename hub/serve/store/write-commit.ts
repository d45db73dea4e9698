// Adds commits to a branch and updates the plain folder. A commit exists once one small file, the ref of the branch,
// has been written. If the server is killed before, the branch is unchanged. If it is killed after, the commit is
// complete and the folder is updated later. Every step of the update can be repeated; repository.ts does not read the
// folder until it is finished.

import { lstat, mkdir, rmdir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncFolder } from "../../files/atomic-file.ts";
import { quote } from "../../files/file-error.ts";
import { type HubCommit, type HubFile, makeCommit, sameFiles } from "./commit-object.ts";
import type { ObjectStore } from "./objects.ts";
import { HubRefusal } from "./refusal.ts";
import { MAIN, type Repository } from "./repository.ts";

interface CommitRequest {
  branch: string;
  title: string;
  message: string;
  author: string;
  /** commit that the branch must still have */
  parent?: string | undefined;
  /** changes the files of the branch, by path, into those of the commit */
  change(files: Map<string, HubFile>): void;
  /** milliseconds since 1970 */
  now?: number;
}

/**
 * Adds a commit.
 * @returns the new commit, or the branch's latest if nothing changes. The contents of new files must be in the object
 * store or in another file of the branch
 * @throws {HubRefusal} 412 if the branch has changed, 404 if it does not exist, 400 if the files are invalid
 */
export function writeCommit(repository: Repository, request: CommitRequest): Promise<HubCommit> {
  return repository.exclusively(async () => {
    await finishCheckout(repository);
    const head = await headOf(repository, request.branch);
    if (request.parent !== undefined && request.parent !== head.id) {
      throw new HubRefusal(
        412,
        `${quote(request.branch)} is at ${head.id} now, not at ${request.parent}; pull and try again`,
      );
    }
    const files = new Map(head.files.map((file) => [file.path, file]));
    request.change(files);
    checkFolders(files);
    const { title, message, author, now = Date.now() } = request;
    const seconds = Math.floor(now / 1000);
    const commit = makeCommit({ parent: head.id, title, message, author, seconds, files: [...files.values()] });
    if (sameFiles(commit.files, head.files)) return head;
    await keepContents(repository, head, commit);
    const { records, folder } = repository;
    if (request.branch !== MAIN) {
      await records.writeCommit(commit);
      await records.writeRef("heads", request.branch, { commit: commit.id });
      return commit;
    }
    await checkWays({ folder, from: head, to: commit });
    await records.writeCommit(head);
    await records.writeCommit(commit);
    await records.writeRef("heads", MAIN, { commit: commit.id, pending: { from: head.id } });
    // The commit exists from here on. If the folder cannot be updated now, the commit is served from the store.
    await finishCheckout(repository).catch(() => {});
    return commit;
  });
}

/**
 * Replaces a branch by one commit without a parent.
 * @throws {HubRefusal} 404 if the branch does not exist
 */
export function squashBranch(
  repository: Repository,
  { branch, title, author, now = Date.now() }: Pick<CommitRequest, "branch" | "title" | "author" | "now">,
): Promise<HubCommit> {
  return repository.exclusively(async () => {
    await finishCheckout(repository);
    const { files } = await headOf(repository, branch);
    const commit = makeCommit({ title, message: "", author, seconds: Math.floor(now / 1000), files });
    await repository.records.writeCommit(commit);
    await repository.records.writeRef("heads", branch, { commit: commit.id });
    return commit;
  });
}

/** Finishes updating the plain folder to a commit. The caller must hold the repository's lock. */
export async function finishCheckout({ records, folder, objects }: Repository): Promise<void> {
  const ref = await records.ref("heads", MAIN);
  if (!ref?.pending) return;
  const [from, to] = [await records.commit(ref.pending.from), await records.commit(ref.commit)];
  if (!from || !to) throw new Error(`${folder}: a commit of its records does not exist`);
  await checkOut({ folder, from, to }, objects);
  await records.writeRef("heads", MAIN, { commit: ref.commit });
}

/** Copies a commit and its contents to the store, for a branch or tag. */
export async function keepCommit(repository: Repository, commit: HubCommit): Promise<void> {
  for (const file of commit.files) await keepContent(repository, file);
  await repository.records.writeCommit(commit);
}

async function headOf(repository: Repository, branch: string): Promise<HubCommit> {
  const ref = branch === MAIN ? undefined : await repository.records.ref("heads", branch);
  const head = branch === MAIN ? await repository.main() : ref && (await repository.commit(ref.commit));
  if (!head)
    throw new HubRefusal(404, `${repository.id} has no branch ${quote(branch)}; create it first`, "RevisionNotFound");
  return head;
}

/**
 * Copies the files that a commit adds to the store. Also copies those that it replaces or removes in the plain folder,
 * so that the earlier commit can still be read.
 */
async function keepContents(repository: Repository, from: HubCommit, to: HubCommit): Promise<void> {
  const { written, removed } = difference({ from, to });
  const before = new Map(from.files.map((file) => [file.path, file]));
  const replaced = written.flatMap(({ path }) => before.get(path) ?? []);
  for (const file of [...replaced, ...removed, ...written]) await keepContent(repository, file);
}

async function keepContent(repository: Repository, file: HubFile): Promise<void> {
  const { objects } = repository;
  if (await objects.has(file)) return;
  const content = await repository.open(file);
  if (!content) throw new HubRefusal(409, `${quote(file.path)} was edited in the meantime; try again`);
  try {
    await objects.receive(content.handle.createReadStream({ autoClose: false }), file);
  } finally {
    await content.handle.close();
  }
}

/** Checks that no path is both a file and a folder. */
function checkFolders(files: ReadonlyMap<string, HubFile>): void {
  for (const path of files.keys()) {
    for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
      const folder = path.slice(0, slash);
      if (files.has(folder)) {
        throw new HubRefusal(400, `${quote(folder)} cannot be both a file and the folder of ${quote(path)}`);
      }
    }
  }
}

interface FolderChange {
  /** the plain folder */
  folder: string;
  from: HubCommit;
  to: HubCommit;
}

/** The files of `to` that are not the same in `from`, and the files of `from` that are gone. */
export function difference({ from, to }: Omit<FolderChange, "folder">): { written: HubFile[]; removed: HubFile[] } {
  const before = new Map(from.files.map((file) => [file.path, file]));
  const after = new Set(to.files.map(({ path }) => path));
  return {
    written: to.files.filter((file) => before.get(file.path)?.sha256 !== file.sha256),
    removed: from.files.filter(({ path }) => !after.has(path)),
  };
}

/**
 * Checks that the folder can be updated, before the commit is made.
 * @throws {HubRefusal} 409 if a link or something else is in the way
 */
async function checkWays(change: FolderChange): Promise<void> {
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
        throw new HubRefusal(409, `${quote(parent)} is not a folder in the Hub's own folder; remove it there`);
      }
    }
  }
}

/** Updates the folder. All files that differ between `from` and `to` must be in the object store. */
async function checkOut(change: FolderChange, objects: ObjectStore): Promise<void> {
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

/** Removes empty parent folders, since git does not have empty folders. */
async function removeEmpty(folder: string, path: string): Promise<void> {
  for (let at = path; at !== "."; at = dirname(at)) {
    const removed = await rmdir(join(folder, at)).then(
      () => true,
      () => false,
    );
    if (!removed) return;
  }
}

/** Removes a file. It may be gone already, and a folder may be in its place or a file in the place of its folder. */
async function removeFile(path: string): Promise<void> {
  await unlink(path).catch(async (error: NodeJS.ErrnoException) => {
    if (["ENOENT", "ENOTDIR"].includes(error.code ?? "")) return;
    if (!(await lstat(path)).isDirectory()) throw error;
  });
}
