// `/api/models` and `/api/datasets`: the repositories that the caller may see. Contents are not hashed for it, unless
// commit ids are asked for.

import type { RepoType } from "../../access/repository.ts";
import { mayRead } from "../permissions.ts";
import { type HubReply, type HubRequest, json, page } from "../reply.ts";
import { compareText } from "../store/commit-object.ts";
import type { HubStore } from "../store/hub-store.ts";
import type { Repository } from "../store/repository.ts";
import { cardFacts } from "./card.ts";
import { basicInfo } from "./info.ts";

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
