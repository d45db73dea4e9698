// `/api/models/<id>`, `/api/models/<id>/revision/<revision>` and the same for data sets: what a repository is and which
// files it has. All that there is to say is said, whatever `expand` asks for.

import { createHash } from "node:crypto";
import { parse } from "yaml";
import type { RepoType } from "../../access/repository.ts";
import { mayRead } from "../permissions.ts";
import { type HubReply, type HubRequest, json, page } from "../reply.ts";
import { type RepoRequest, splitRevision } from "../repo-request.ts";
import { compareText, type HubCommit, type HubFile, pointerText } from "../store/commit-object.ts";
import type { HubStore } from "../store/hub-store.ts";
import type { RepoSettings } from "../store/records.ts";
import type { Repository } from "../store/repository.ts";

export async function repositoryInfo(request: RepoRequest): Promise<HubReply> {
  const { repository, settings, rest, query } = request;
  const { commit } = await splitRevision(repository, rest.length === 0 ? ["main"] : rest);
  const blobs = query.get("blobs") === "true" || query.get("blobs") === "1";
  return json(
    {
      ...basicInfo(repository, settings, commit.date),
      ...(await cardFacts(repository, commit)),
      sha: commit.id,
      usedStorage: commit.files.reduce((sum, { size }) => sum + size, 0),
      siblings: commit.files.map((file) => ({ rfilename: file.path, ...(blobs && sibling(file)) })),
    },
    { headers: { "X-Repo-Commit": commit.id } },
  );
}

/** What is the same at every revision. */
export function basicInfo({ type, id }: Repository, settings: RepoSettings, date: string): Record<string, unknown> {
  return {
    _id: createHash("sha1").update(`${type}/${id}`).digest("hex").slice(0, 24),
    id,
    ...(type === "model" && { modelId: id }),
    ...(id.includes("/") && { author: id.split("/")[0] }),
    private: settings.private,
    gated: settings.gated,
    disabled: false,
    downloads: 0,
    likes: 0,
    lastModified: date,
    createdAt: date,
  };
}

function sibling(file: HubFile): Record<string, unknown> {
  return { size: file.size, blobId: file.oid, ...(file.large && { lfs: largeInfo(file) }) };
}

function largeInfo(file: HubFile): Record<string, unknown> {
  return { sha256: file.sha256, oid: file.sha256, size: file.size, pointerSize: pointerText(file).length };
}

/** A file as trees and paths-info list it. */
export function treeFile(file: HubFile): Record<string, unknown> {
  const { path, size, oid } = file;
  return {
    type: "file",
    oid,
    size,
    path,
    ...(file.large && { lfs: { oid: file.sha256, size, pointerSize: pointerText(file).length } }),
  };
}

export function shownCommit({ id, title, date }: HubCommit): Record<string, unknown> {
  return { id, title, date };
}

const PAGE = 1000;

export async function listRepositories(request: HubRequest, store: HubStore, type: RepoType): Promise<HubReply> {
  const { query, caller } = request;
  const author = query.get("author")?.toLowerCase();
  const search = query.get("search")?.toLowerCase();
  const wanted = (id: string) =>
    (author === undefined || id.toLowerCase().startsWith(`${author}/`)) &&
    (search === undefined || id.toLowerCase().includes(search));
  const entries: Record<string, unknown>[] = [];
  for (const id of (await store.ids(type)).filter(wanted)) {
    const repository = store.repository(type, id);
    if (mayRead(await repository.settings(), caller)) entries.push(await describe(repository, query));
  }
  const tags = [...query.getAll("filter").flatMap((tag) => tag.split(",")), ...query.getAll("pipeline_tag")];
  const items = entries.filter((entry) => tags.every((tag) => (entry.tags as string[]).includes(tag)));
  const key = sortKey(query);
  items.sort((a, b) => compareText(key(a), key(b)));
  const { items: shown, headers } = page(request, { items, key, most: PAGE });
  return json(shown, { headers });
}

async function describe(repository: Repository, query: URLSearchParams): Promise<Record<string, unknown>> {
  const asked = new Set([...query.getAll("expand"), ...query.getAll("expand[]")]);
  const full = ["1", "true", "True"].includes(query.get("full") ?? "");
  const settings = await repository.settings();
  const { paths, changed } = await repository.scanner.list(repository.folder);
  const commit = full || asked.has("sha") ? await repository.main() : undefined;
  return {
    ...basicInfo(repository, settings, commit?.date ?? new Date(changed).toISOString()),
    ...(await cardFacts(repository, commit)),
    ...(commit && { sha: commit.id }),
    ...((full || asked.has("siblings")) && { siblings: paths.map((rfilename) => ({ rfilename })) }),
  };
}

/** As a key of the order too: paging goes by it. */
function sortKey(query: URLSearchParams): (entry: Record<string, unknown>) => string {
  if (!["lastModified", "createdAt", "last_modified"].includes(query.get("sort") ?? ""))
    return (entry) => String(entry.id);
  const LATEST = 8.64e15;
  // Latest first, whatever `direction` says: that is the only one that huggingface.co knows.
  return (entry) => `${String(LATEST - Date.parse(String(entry.lastModified))).padStart(17, "0")} ${entry.id}`;
}

export interface CardFacts {
  cardData?: Record<string, unknown>;
  tags: string[];
  pipeline_tag?: string;
  library_name?: string;
}

const LONGEST_CARD = 2 ** 20;

const CARD = "README.md";

/** A card that cannot be read says nothing. @param commit the plain folder's card if it is not given */
export async function cardFacts(repository: Repository, commit?: HubCommit): Promise<CardFacts> {
  const file = commit ? commit.files.find(({ path }) => path === CARD) : await repository.fileNow(CARD);
  if (!file || file.size > LONGEST_CARD) return { tags: [] };
  const content = await repository.open(file);
  const text = await content?.handle.readFile("utf8").finally(() => content.handle.close());
  const cardData = frontMatter(text ?? "");
  if (!cardData) return { tags: [] };
  const { pipeline_tag, library_name } = cardData;
  const named = {
    ...(typeof pipeline_tag === "string" && { pipeline_tag }),
    ...(typeof library_name === "string" && { library_name }),
  };
  const own = Array.isArray(cardData.tags) ? cardData.tags.filter((tag) => typeof tag === "string") : [];
  return { cardData, tags: [...new Set([...own, ...Object.values(named)])], ...named };
}

function frontMatter(text: string): Record<string, unknown> | undefined {
  const [, yaml] = /^---\r?\n([\s\S]*?)\r?\n---(\r?\n|$)/.exec(text) ?? [];
  if (yaml === undefined) return undefined;
  try {
    const value: unknown = parse(yaml, { maxAliasCount: 10, logLevel: "silent" });
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
