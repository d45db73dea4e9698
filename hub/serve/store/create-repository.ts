// Repositories made and removed. A repository is there when its folder is, so the folder comes last and goes first: a
// private one is never seen by others for a moment.

import { randomBytes } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { RepoType } from "../../access/repository.ts";
import { lockFile } from "../../cache/lock.ts";
import type { HubStore } from "./hub-store.ts";
import type { Repository } from "./repository.ts";

interface RepoKey {
  type: RepoType;
  id: string;
}

/** Undefined if there is one of that name. */
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

/** False if there is none of that name. */
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

/** Gone at once, whatever happens while it is removed. */
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

/** One at a time, in whatever process. */
async function alone<T>(store: HubStore, work: () => Promise<T>): Promise<T> {
  const release = await lockFile(store.storeFolder("repositories.lock"));
  try {
    return await work();
  } finally {
    await release();
  }
}
