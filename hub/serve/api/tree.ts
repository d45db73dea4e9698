// `/api/…/tree/<revision>/<path>` and `/api/…/paths-info/<revision>`: files and folders of a commit with their ids
// and, on request, the commit that last changed each.

import { z } from "zod";
import { quote } from "../../files/file-error.ts";
import { compareText, type HubCommit, type HubFile, treeIds } from "../store/commit-object.ts";
import { HubRefusal } from "../store/refusal.ts";
import type { Repository } from "../store/repository.ts";
import { shownCommit, treeFile } from "./info.ts";
import { cursorOf, type HubReply, json, page, readForm } from "./reply.ts";
import { noRevision, type RepoRequest, splitRevision } from "./repo-request.ts";

type Entry = { path: string; oid: string; file?: HubFile };

/** Entries on a page. huggingface.co has the same limits; expanded entries are larger. */
const PAGE = 1000;
const EXPANDED_PAGE = 100;
const MOST_PATHS = 1000;

/** Answers with the entries of a folder, in pages. */
export async function listTree(request: RepoRequest): Promise<HubReply> {
  const { repository, rest, query } = request;
  const split = await splitRevision(repository, rest);
  // Later pages show the same commit as the first, even if the branch changes.
  const pin = cursorOf(request)?.pin ?? split.commit.id;
  const commit = pin === split.commit.id ? split.commit : await repository.commit(pin);
  if (!commit) throw noRevision(repository, pin);
  const { path } = split;
  const all = entriesOf(commit);
  if (path !== "" && (all.get(path)?.file || !all.has(path))) {
    throw new HubRefusal(
      404,
      `${repository.id} has no folder ${quote(path)} at ${quote(split.revision)}`,
      "EntryNotFound",
    );
  }
  const within = path === "" ? "" : `${path}/`;
  const recursive = truthy(query.get("recursive"));
  const expand = truthy(query.get("expand"));
  const items = [...all.values()]
    .filter((entry) => entry.path.startsWith(within) && (recursive || !entry.path.includes("/", within.length)))
    .sort((a, b) => compareText(a.path, b.path));
  const { items: entries, headers } = page(request, {
    items,
    key: (entry) => entry.path,
    most: expand ? EXPANDED_PAGE : PAGE,
    pin: commit.id,
  });
  const body = await shown(repository, commit, entries, expand);
  return json(body, { headers: { ...headers, "X-Repo-Commit": commit.id } });
}

const PATHS = z.object({
  paths: z.union([z.array(z.string()).max(MOST_PATHS), z.string().transform((path) => [path])]),
  expand: z.union([z.boolean(), z.string().transform((value) => truthy(value))]).optional(),
});

/** Answers with the paths that exist. */
export async function pathsInfo(request: RepoRequest): Promise<HubReply> {
  const { repository, rest } = request;
  const { paths, expand = false } = await readForm(request, PATHS);
  const { commit } = await splitRevision(repository, rest);
  const all = entriesOf(commit);
  const entries = [...new Set(paths)].flatMap((path) => all.get(path.replace(/\/+$/, "")) ?? []);
  return json(await shown(repository, commit, entries, expand), { headers: { "X-Repo-Commit": commit.id } });
}

/** Files and folders by path. */
function entriesOf(commit: HubCommit): Map<string, Entry> {
  const entries = new Map<string, Entry>(
    commit.files.map((file) => [file.path, { path: file.path, oid: file.oid, file }]),
  );
  for (const [path, oid] of treeIds(commit.files)) if (path !== "") entries.set(path, { path, oid });
  return entries;
}

async function shown(
  repository: Repository,
  commit: HubCommit,
  entries: readonly Entry[],
  expand = false,
): Promise<unknown[]> {
  const last = expand ? await lastCommits(repository, commit, entries) : new Map<string, HubCommit>();
  return entries.map((entry) => {
    const info = entry.file ? treeFile(entry.file) : { type: "directory", oid: entry.oid, size: 0, path: entry.path };
    const lastCommit = last.get(entry.path);
    return lastCommit ? { ...info, lastCommit: shownCommit(lastCommit) } : info;
  });
}

/** For each entry, walks back from `commit` to the last commit in which it was different. */
async function lastCommits(
  repository: Repository,
  commit: HubCommit,
  entries: readonly Entry[],
): Promise<Map<string, HubCommit>> {
  const last = new Map<string, HubCommit>();
  let open = [...entries];
  for await (const at of repository.history(commit)) {
    const there = entriesOf(at);
    open = open.filter((entry) => there.get(entry.path)?.oid === entry.oid);
    if (open.length === 0) break;
    for (const entry of open) last.set(entry.path, at);
  }
  return last;
}

function truthy(value: string | null): boolean {
  return /^(true|1|yes)$/i.test(value ?? "");
}
