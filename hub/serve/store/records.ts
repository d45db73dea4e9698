// The records of a repository: settings, commits, and where branches and tags point. Each is one small JSON file that
// is replaced atomically. repository.ts relates commits to the plain folder.

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { writeFileAtomically } from "../../files/atomic-file.ts";
import type { HubCommit } from "./commit-object.ts";
import { COMMIT_ID } from "./names.ts";

const SETTINGS = z.object({
  private: z.boolean().default(false),
  gated: z.union([z.literal(false), z.enum(["auto", "manual"])]).default(false),
});
/** Visibility of a repository. */
export type RepoSettings = z.infer<typeof SETTINGS>;

const REF = z.object({
  commit: z.string().regex(COMMIT_ID),
  /** the plain folder is being updated to `commit`; only for `main`, which was at `from` before */
  pending: z.object({ from: z.string().regex(COMMIT_ID) }).optional(),
});
/** Where a branch or tag points. */
export type Ref = z.infer<typeof REF>;

const HASH = z.string().regex(/^[0-9a-f]+$/);
const COMMIT = z.object({
  id: z.string().regex(COMMIT_ID),
  parent: z.string().regex(COMMIT_ID).optional(),
  title: z.string(),
  message: z.string(),
  author: z.string(),
  date: z.string(),
  files: z.array(
    z.object({ path: z.string(), size: z.number().int().min(0), sha256: HASH, oid: HASH, large: z.boolean() }),
  ),
});

/** Branches (`heads`) or tags. */
export type RefKind = "heads" | "tags";

/** The records of one repository, in a folder of their own. */
export class RepoRecords {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async settings(): Promise<RepoSettings> {
    return (await readJson(join(this.folder, "settings.json"), SETTINGS)) ?? { private: false, gated: false };
  }

  async writeSettings(settings: RepoSettings): Promise<void> {
    await writeJson(join(this.folder, "settings.json"), settings);
  }

  ref(kind: RefKind, name: string): Promise<Ref | undefined> {
    return readJson(this.refPath(kind, name), REF);
  }

  async writeRef(kind: RefKind, name: string, ref: Ref): Promise<void> {
    await writeJson(this.refPath(kind, name), ref);
  }

  async removeRef(kind: RefKind, name: string): Promise<void> {
    await rm(this.refPath(kind, name), { force: true });
  }

  /** Names of recorded branches or tags. `main` may be missing, since it is the folder itself. */
  async refNames(kind: RefKind): Promise<string[]> {
    const names = await readdir(join(this.folder, "refs", kind)).catch(() => []);
    return names
      .filter((name) => name.endsWith(".json") && !name.startsWith("."))
      .map((name) => decodeURIComponent(name.slice(0, -5)))
      .sort();
  }

  commit(id: string): Promise<HubCommit | undefined> {
    return readJson(this.commitPath(id), COMMIT);
  }

  async writeCommit(commit: HubCommit): Promise<void> {
    await writeJson(this.commitPath(commit.id), commit);
  }

  private refPath(kind: RefKind, name: string): string {
    return join(this.folder, "refs", kind, `${encodeURIComponent(name)}.json`);
  }

  private commitPath(id: string): string {
    return join(this.folder, "commits", `${id}.json`);
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomically(path, JSON.stringify(value));
}

/** Undefined if the file does not exist. */
async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error(`${path}: was not written by a local Hub: ${parsed.error.issues[0]?.message}`);
  return parsed.data;
}
