// One repository: the commit of a revision, and the contents of its files. `main` is the current state of the plain
// folder; other branches, tags and history are in the records. Reading never writes.

import { join } from "node:path";
import type { RepoType } from "../../access/repository.ts";
import { lockFile } from "../../cache/lock.ts";
import { type HubCommit, type HubFile, makeCommit, sameFiles } from "./commit-object.ts";
import type { FolderScan, FolderScanner } from "./folder-scan.ts";
import { COMMIT_ID } from "./names.ts";
import type { ObjectStore, OpenContent } from "./objects.ts";
import type { Ref, RepoRecords, RepoSettings } from "./records.ts";

/** The branch that is the plain folder. */
export const MAIN = "main";
/** Number of unrecorded commits of the plain folder that are remembered after the folder has changed. */
const REMEMBERED = 32;

interface RepositoryPlaces {
  type: RepoType;
  id: string;
  /** the plain folder */
  folder: string;
  records: RepoRecords;
  objects: ObjectStore;
  scanner: FolderScanner;
}

/** A repository that is served from a plain folder and its records. */
export class Repository {
  readonly type: RepoType;
  readonly id: string;
  readonly folder: string;
  readonly records: RepoRecords;
  readonly objects: ObjectStore;
  readonly scanner: FolderScanner;
  private readonly seen = new Map<string, HubCommit>();
  /** resolves when the previous change is finished */
  private last: Promise<void> = Promise.resolve();

  constructor({ type, id, folder, records, objects, scanner }: RepositoryPlaces) {
    this.type = type;
    this.id = id;
    this.folder = folder;
    this.records = records;
    this.objects = objects;
    this.scanner = scanner;
  }

  settings(): Promise<RepoSettings> {
    return this.records.settings();
  }

  /** The commit of a branch, a tag or a commit id. Undefined if there is none. */
  async commit(revision: string): Promise<HubCommit | undefined> {
    const name = revision.replace(/^refs\/(heads|tags)\//, "");
    if (name === MAIN || revision === "HEAD") return this.main();
    if (COMMIT_ID.test(revision)) {
      const known = this.seen.get(revision) ?? (await this.records.commit(revision));
      if (known) return known;
      const main = await this.main();
      return main.id === revision ? main : undefined;
    }
    const ref = (await this.records.ref("heads", name)) ?? (await this.records.ref("tags", name));
    return ref && this.stored(ref.commit);
  }

  /** The commit of the plain folder. */
  async main(): Promise<HubCommit> {
    for (;;) {
      const ref = await this.records.ref("heads", MAIN);
      // While the folder is being updated to a commit, that commit counts, not the folder.
      if (ref?.pending) return this.stored(ref.commit);
      const last = ref && (await this.stored(ref.commit));
      const scan = await this.scanner.scan(this.folder);
      // A commit that started during the scan may have changed the folder halfway.
      if (!sameRef(ref, await this.records.ref("heads", MAIN))) continue;
      return last && sameFiles(last.files, scan.files) ? last : this.remember(folderCommit(scan, last));
    }
  }

  /** Opens the content of a file of a commit. Undefined if it was not kept, because the file was edited by hand. */
  async open(file: HubFile): Promise<OpenContent | undefined> {
    const kept = (await this.objects.open(file)) ?? (await this.scanner.open(this.folder, file));
    if (kept) return kept;
    const moved = (await this.scanner.scan(this.folder)).files.find(({ sha256 }) => sha256 === file.sha256);
    return moved && this.scanner.open(this.folder, moved);
  }

  /** Runs changes one at a time, across all processes. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    const before = this.last;
    let done = () => {};
    this.last = new Promise((resolve) => {
      done = resolve;
    });
    await before;
    try {
      const release = await lockFile(join(this.records.folder, "lock"));
      try {
        return await work();
      } finally {
        await release();
      }
    } finally {
      done();
    }
  }

  /** A file in the current state of the plain folder. */
  fileNow(path: string): Promise<HubFile | undefined> {
    return this.scanner.file(this.folder, path);
  }

  /** Branches and their commits, `main` first. */
  async branches(): Promise<{ name: string; commit: string }[]> {
    const others = (await this.refs("heads")).filter(({ name }) => name !== MAIN);
    return [{ name: MAIN, commit: (await this.main()).id }, ...others];
  }

  tags(): Promise<{ name: string; commit: string }[]> {
    return this.refs("tags");
  }

  /** A commit and its ancestors, latest first. */
  async *history(commit: HubCommit): AsyncGenerator<HubCommit> {
    for (let at: HubCommit | undefined = commit; at; ) {
      yield at;
      at = at.parent === undefined ? undefined : (this.seen.get(at.parent) ?? (await this.records.commit(at.parent)));
    }
  }

  private async refs(kind: "heads" | "tags"): Promise<{ name: string; commit: string }[]> {
    const names = await this.records.refNames(kind);
    const refs = await Promise.all(names.map((name) => this.records.ref(kind, name)));
    return names.flatMap((name, i) => (refs[i] ? [{ name, commit: refs[i].commit }] : []));
  }

  private async stored(id: string): Promise<HubCommit> {
    const commit = this.seen.get(id) ?? (await this.records.commit(id));
    if (!commit) throw new Error(`${this.type} ${this.id}: a branch points to commit ${id}, which does not exist`);
    return commit;
  }

  private remember(commit: HubCommit): HubCommit {
    this.seen.delete(commit.id);
    this.seen.set(commit.id, commit);
    for (const oldest of this.seen.keys()) {
      if (this.seen.size <= REMEMBERED) break;
      this.seen.delete(oldest);
    }
    return commit;
  }
}

/**
 * The commit of a folder whose state was not pushed. Its id depends only on the files and the previous commit, so
 * that it is the same after a restart and on another machine.
 */
function folderCommit({ files, changed }: FolderScan, parent: HubCommit | undefined): HubCommit {
  const before = new Map(parent?.files.map((file) => [file.path, file]));
  return makeCommit({
    parent: parent?.id,
    title: parent ? "Files changed in the folder" : "Files of the folder",
    message: "",
    author: "folder",
    seconds: 0,
    date: new Date(changed).toISOString(),
    // A file that was pushed as large stays large, whatever its name is.
    files: files.map((file) => {
      const earlier = before.get(file.path);
      return earlier?.sha256 === file.sha256 ? earlier : file;
    }),
  });
}

function sameRef(a: Ref | undefined, b: Ref | undefined): boolean {
  return a?.commit === b?.commit && a?.pending?.from === b?.pending?.from;
}
