// `/api/…/refs` and `/api/…/commits/<revision>`: where branches and tags point, and what led there.

import { type HubReply, json, page } from "../reply.ts";
import { type RepoRequest, splitRevision } from "../repo-request.ts";
import type { HubCommit } from "../store/commit-object.ts";

export async function listRefs({ repository }: RepoRequest): Promise<HubReply> {
  const shown = (kind: string) => (ref: { name: string; commit: string }) => ({
    name: ref.name,
    ref: `refs/${kind}/${ref.name}`,
    targetCommit: ref.commit,
  });
  const branches = (await repository.branches()).map(shown("heads"));
  const tags = (await repository.tags()).map(shown("tags"));
  return json({ branches, converts: [], tags, pullRequests: [] });
}

const PAGE = 1000;

export async function listCommits(request: RepoRequest): Promise<HubReply> {
  const { repository, rest } = request;
  const { commit } = await splitRevision(repository, rest);
  const items: { commit: HubCommit; key: string }[] = [];
  for await (const at of repository.history(commit))
    items.push({ commit: at, key: String(items.length).padStart(9, "0") });
  const { items: shown, headers } = page(request, { items, key: ({ key }) => key, most: PAGE });
  const body = shown.map(({ commit: { id, title, message, author, date } }) => ({
    id,
    title,
    message,
    authors: [{ user: author, avatar: "" }],
    date,
  }));
  return json(body, { headers: { ...headers, "X-Total-Count": String(items.length) } });
}
