// What the tests of pull share: a quick temper, a pull run to its end, and what is in a cache.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { HubAccess, RepoName } from "../../../hub/access/repository.ts";
import { type PullEvent, type Pulled, type PullOptions, pull } from "../../../hub/pull/index.ts";

export const REPO: RepoName = { type: "model", id: "x/y", revision: "main" };

/** Retries without the waits, so that tests take no time over them. */
export const HASTY = { attempts: 4, firstDelayMs: 1, longestDelayMs: 5, stallMs: 1000 };

export interface PullRun {
  pulled: Pulled;
  events: PullEvent[];
}

export async function pullAll(access: HubAccess, options: PullOptions = {}, repo: RepoName = REPO): Promise<PullRun> {
  const events: PullEvent[] = [];
  for await (const event of pull(repo, access, { patience: HASTY, ...options })) events.push(event);
  const last = events.at(-1);
  if (last?.kind !== "pulled") throw new Error(`the last event is ${last?.kind}`);
  return { pulled: last, events };
}

/** The error that a pull ends with. */
export async function failureOf(pulling: Promise<PullRun>): Promise<Error & { code?: string }> {
  const outcome = await pulling.then(
    () => undefined,
    (error: Error) => error,
  );
  if (!outcome) throw new Error("the pull did not fail");
  return outcome;
}

/** Every file under a folder, through links, by path. */
export async function filesIn(folder: string): Promise<Map<string, Buffer>> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  const contents = await Promise.all(
    files.map(async (path) => [path.slice(folder.length + 1), await readFile(path)] as const),
  );
  return new Map(contents.sort(([a], [b]) => (a < b ? -1 : 1)));
}
