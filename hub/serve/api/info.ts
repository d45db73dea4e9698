// Descriptions of repositories: `/api/models` and `/api/models/<id>[/revision/<revision>]`, and the same for data
// sets. Answers have all known fields, whatever `expand` asks for, including what the model card states. A list does
// not hash files unless commit ids are requested.

import { createHash } from "node:crypto";
import type { RepoType } from "../../access/repository.ts";
import { frontMatter } from "../../card/index.ts";
import { compareText, type HubCommit, type HubFile, pointerText } from "../store/commit-object.ts";
import type { HubStore } from "../store/hub-store.ts";
import type { RepoSettings } from "../store/records.ts";
import type { Repository } from "../store/repository.ts";
import { mayRead } from "./permissions.ts";
import { type HubReply, type HubRequest, json, page } from "./reply.ts";
import { type RepoRequest, splitRevision } from "./repo-request.ts";

/** Answers with the description of a repository at a revision. */
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

/** Fields that are the same at every revision. */
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

/** A file in the form of trees and paths-info. */
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

/** A commit in the form of trees. */
export function shownCommit({ id, title, date }: HubCommit): Record<string, unknown> {
  return { id, title, date };
}

const PAGE = 1000;

/** Answers with the repositories that the caller may see. */
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

/** Function that returns the position of an entry in the list as text, which is also the cursor of a page. */
function sortKey(query: URLSearchParams): (entry: Record<string, unknown>) => string {
  if (!["lastModified", "createdAt", "last_modified"].includes(query.get("sort") ?? ""))
    return (entry) => String(entry.id);
  const LATEST = 8.64e15;
  // Latest first, whatever `direction` is: huggingface.co supports no other order.
  return (entry) => `${String(LATEST - Date.parse(String(entry.lastModified))).padStart(17, "0")} ${entry.id}`;
}

interface CardFacts {
  cardData?: Record<string, unknown>;
  tags: string[];
  pipeline_tag?: string;
  library_name?: string;
}

const LONGEST_CARD = 2 ** 20;

const CARD = "README.md";

/**
 * What the front matter of a repository's README.md states. Empty if it is missing or cannot be read.
 * @param commit default: the current files of the folder
 */
async function cardFacts(repository: Repository, commit?: HubCommit): Promise<CardFacts> {
  const file = commit ? commit.files.find(({ path }) => path === CARD) : await repository.fileNow(CARD);
  if (!file || file.size > LONGEST_CARD) return { tags: [] };
  const content = await repository.open(file);
  const text = await content?.handle.readFile("utf8").finally(() => content.handle.close());
  const cardData = frontMatter(text ?? "");
  if (Object.keys(cardData).length === 0) return { tags: [] };
  const { pipeline_tag, library_name } = cardData;
  const named = {
    ...(typeof pipeline_tag === "string" && { pipeline_tag }),
    ...(typeof library_name === "string" && { library_name }),
  };
  const own = Array.isArray(cardData.tags) ? cardData.tags.filter((tag) => typeof tag === "string") : [];
  return { cardData, tags: [...new Set([...own, ...Object.values(named)])], ...named };
}
