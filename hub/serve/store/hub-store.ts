// All repositories of a served folder. A repository exists if its folder does: `models/<owner>/<name>`, or
// `models/<name>` with a config.json or README.md. Therefore the folder of a repository is created last and removed
// first, and a private repository is never visible to others.

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { lstat, mkdir, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { RepoType } from "../../access/repository.ts";
import { lockFile } from "../../cache/lock.ts";
import { compareText } from "./commit-object.ts";
import { FolderScanner } from "./folder-scan.ts";
import { isRepoId, isRepoPart, STORE_FOLDER, TYPE_FOLDERS } from "./names.ts";
import { ObjectStore } from "./objects.ts";
import { RepoRecords } from "./records.ts";
import { MAIN, Repository } from "./repository.ts";
import { UploadStore } from "./uploads.ts";
import { finishCheckout } from "./write-commit.ts";
import { XorbStore } from "./xorbs.ts";

/** The served folder and the Hub's own data in it. */
export class HubStore {
  readonly root: string;
  readonly objects: ObjectStore;
  readonly uploads: UploadStore;
  readonly xorbs: XorbStore;
  private readonly scanner: FolderScanner;
  private readonly repositories = new Map<string, Repository>();

  private constructor(root: string) {
    this.root = root;
    this.objects = new ObjectStore(join(root, STORE_FOLDER, "objects"));
    this.uploads = new UploadStore(join(root, STORE_FOLDER, "uploads"), this.objects);
    this.xorbs = new XorbStore(join(root, STORE_FOLDER, "xorbs"));
    this.scanner = new FolderScanner(root);
  }

  /**
   * Opens a served folder.
   * @throws if `folder` is not a folder
   */
  static async open(folder: string): Promise<HubStore> {
    const root = await realpath(folder);
    if (!(await stat(root)).isDirectory()) throw new Error("it is not a folder");
    return new HubStore(root);
  }

  /**
   * Finishes what a killed server had started and removes its temporary files. A folder that cannot be written is
   * left unchanged.
   */
  async recover(): Promise<void> {
    for (const type of ["model", "dataset"] as const) {
      for (const id of await this.ids(type)) {
        const repository = this.repository(type, id);
        const isPending = async () => (await repository.records.ref("heads", MAIN))?.pending !== undefined;
        // If this fails, the commit is served from the store until it can be finished.
        if (await isPending()) await repository.exclusively(() => finishCheckout(repository)).catch(() => {});
      }
    }
    await Promise.all([this.objects.sweep(), this.uploads.sweep(), this.xorbs.sweep()]).catch(() => {});
    await rm(this.storeFolder("trash"), { recursive: true, force: true }).catch(() => {});
  }

  /** A folder for the Hub's own data. */
  storeFolder(...names: string[]): string {
    return join(this.root, STORE_FOLDER, ...names);
  }

  /** The plain folder of a repository. */
  repoFolder(type: RepoType, id: string): string {
    return join(this.root, TYPE_FOLDERS[type], ...id.split("/"));
  }

  /** The folder with the records of a repository: settings, commits, branches and tags. */
  recordsFolder(type: RepoType, id: string): string {
    return this.storeFolder("repositories", TYPE_FOLDERS[type], ...id.split("/"));
  }

  /**
   * Finds a repository. A bare name also stands for the only repository of that name, whoever owns it. Undefined if
   * there is none.
   */
  async find(type: RepoType, id: string): Promise<Repository | undefined> {
    if (!isRepoId(id)) return undefined;
    if (await this.exists(type, id)) return this.repository(type, id);
    if (id.includes("/")) return undefined;
    const named = (await this.ids(type)).filter((other) => other.endsWith(`/${id}`));
    return named.length === 1 ? this.repository(type, named[0] as string) : undefined;
  }

  /** The object of a repository, whether its folder exists or not. */
  repository(type: RepoType, id: string): Repository {
    const key = `${type}/${id}`;
    let repository = this.repositories.get(key);
    if (!repository) {
      const { objects, scanner } = this;
      const records = new RepoRecords(this.recordsFolder(type, id));
      repository = new Repository({ type, id, folder: this.repoFolder(type, id), records, objects, scanner });
      this.repositories.set(key, repository);
    }
    return repository;
  }

  /** Removes the object of a deleted repository. */
  forget(type: RepoType, id: string): void {
    this.repositories.delete(`${type}/${id}`);
  }

  /** The ids of all repositories, sorted. */
  async ids(type: RepoType): Promise<string[]> {
    const ids: string[] = [];
    for (const owner of await this.folders(join(this.root, TYPE_FOLDERS[type]))) {
      if (await this.exists(type, owner)) ids.push(owner);
      else ids.push(...(await this.folders(this.repoFolder(type, owner))).map((name) => `${owner}/${name}`));
    }
    return ids.sort(compareText);
  }

  private async folders(folder: string): Promise<string[]> {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isDirectory() && isRepoPart(entry.name)).map(({ name }) => name);
  }

  /** Whether the repository exists. Links do not count, since they could lead anywhere. */
  async exists(type: RepoType, id: string): Promise<boolean> {
    const folder = this.repoFolder(type, id);
    const places = id.includes("/") ? [join(folder, ".."), folder] : [folder];
    for (const place of [join(this.root, TYPE_FOLDERS[type]), ...places]) {
      if (!(await lstat(place).catch(() => undefined))?.isDirectory()) return false;
    }
    return id.includes("/") || existsSync(join(folder, "config.json")) || existsSync(join(folder, "README.md"));
  }
}

interface RepoKey {
  type: RepoType;
  id: string;
}

/** Creates a repository. Undefined if it exists already. */
export function createRepository(
  store: HubStore,
  { type, id, private: isPrivate }: RepoKey & { private: boolean },
): Promise<Repository | undefined> {
  return alone(store, async () => {
    if (await store.exists(type, id)) return undefined;
    await discard(store, store.recordsFolder(type, id));
    const repository = store.repository(type, id);
    await repository.records.writeSettings({ private: isPrivate, gated: false });
    await mkdir(repository.folder, { recursive: true });
    return repository;
  });
}

/** Deletes a repository. False if it does not exist. */
export function deleteRepository(store: HubStore, { type, id }: RepoKey): Promise<boolean> {
  return alone(store, async () => {
    if (!(await store.exists(type, id))) return false;
    await store.repository(type, id).exclusively(async () => {
      await discard(store, store.repoFolder(type, id));
      await discard(store, store.recordsFolder(type, id));
      store.forget(type, id);
    });
    return true;
  });
}

/** Renames a folder away and then deletes it, so that it disappears in one step. */
async function discard(store: HubStore, folder: string): Promise<void> {
  const away = store.storeFolder("trash", randomBytes(8).toString("hex"));
  await mkdir(dirname(away), { recursive: true });
  const moved = await rename(folder, away).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
  if (moved) await rm(away, { recursive: true, force: true });
}

/** Runs one change of the list of repositories at a time, across all processes. */
async function alone<T>(store: HubStore, work: () => Promise<T>): Promise<T> {
  const release = await lockFile(store.storeFolder("repositories.lock"));
  try {
    return await work();
  } finally {
    await release();
  }
}
