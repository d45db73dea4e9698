// Branches, tags and history: `/api/…/branch/<name>` and `/api/…/tag/<revision>` create and delete,
// `/api/…/super-squash/<branch>` turns a branch into one commit, `/api/…/refs` and `/api/…/commits/<revision>` list.
// The files of branches and tags are copied to the store. `main` is always the plain folder.

import { z } from "zod";
import { quote } from "../../files/file-error.ts";
import { type HubCommit, makeCommit } from "../store/commit-object.ts";
import { isRefName } from "../store/names.ts";
import type { RefKind } from "../store/records.ts";
import { HubRefusal } from "../store/refusal.ts";
import { MAIN } from "../store/repository.ts";
import { keepCommit, squashBranch } from "../store/write-commit.ts";
import { requireWriter } from "./permissions.ts";
import { type HubReply, json, page, readJson } from "./reply.ts";
import { noRevision, type RepoRequest, splitRevision } from "./repo-request.ts";

const BRANCH = z.object({
  startingPoint: z.string().nullish(),
  emptyBranch: z.boolean().nullish(),
  overwrite: z.boolean().nullish(),
});

/**
 * Creates a branch at a commit, or an empty one.
 * @throws {HubRefusal} 409 if it exists
 */
export async function createBranch(request: RepoRequest): Promise<HubReply> {
  const name = request.rest.join("/");
  const { startingPoint, emptyBranch, overwrite } = await readJson(request, BRANCH);
  const start = emptyBranch ? emptyCommit(request) : await commitAt(request, startingPoint ?? MAIN);
  return point(request, { kind: "heads", name, commit: start, overwrite: overwrite ?? false });
}

const TAG = z.object({ tag: z.string(), message: z.string().nullish() });

/**
 * Creates a tag at a commit.
 * @throws {HubRefusal} 409 if it exists
 */
export async function createTag(request: RepoRequest): Promise<HubReply> {
  const { tag: name } = await readJson(request, TAG);
  return point(request, {
    kind: "tags",
    name,
    commit: await commitAt(request, request.rest.join("/")),
    overwrite: false,
  });
}

/**
 * Deletes a branch.
 * @throws {HubRefusal} 403 for `main`, 404 if it does not exist
 */
export const deleteBranch = (request: RepoRequest): Promise<HubReply> => remove(request, "heads");
/**
 * Deletes a tag.
 * @throws {HubRefusal} 404 if it does not exist
 */
export const deleteTag = (request: RepoRequest): Promise<HubReply> => remove(request, "tags");

interface Pointing {
  kind: RefKind;
  name: string;
  commit: HubCommit;
  overwrite: boolean;
}

async function point({ repository }: RepoRequest, { kind, name, commit, overwrite }: Pointing): Promise<HubReply> {
  if (!isRefName(name)) throw new HubRefusal(400, `${quote(name)} cannot be a branch or tag`);
  if (name === MAIN) throw new HubRefusal(409, `${MAIN} exists already`);
  return repository.exclusively(async () => {
    const { records } = repository;
    if (!overwrite && (await records.ref(kind, name))) throw new HubRefusal(409, `${quote(name)} exists already`);
    await keepCommit(repository, commit);
    await records.writeRef(kind, name, { commit: commit.id });
    return json({ name, commit: commit.id });
  });
}

async function remove({ repository, rest }: RepoRequest, kind: RefKind): Promise<HubReply> {
  const name = rest.join("/");
  if (name === MAIN) throw new HubRefusal(403, `${MAIN} cannot be removed: it is the folder itself`);
  return repository.exclusively(async () => {
    if (!isRefName(name) || !(await repository.records.ref(kind, name))) throw noRevision(repository, name);
    await repository.records.removeRef(kind, name);
    return json({});
  });
}

const SQUASH = z.object({ message: z.string().max(1000).nullish() });

/** Replaces a branch by one commit with its files. Earlier commits can still be read by their ids. */
export async function superSquash(request: RepoRequest): Promise<HubReply> {
  const { repository, rest, caller } = request;
  const branch = rest.join("/");
  if (await repository.records.ref("tags", branch))
    throw new HubRefusal(400, `${quote(branch)} is a tag, not a branch`);
  const { message } = await readJson(request, SQUASH);
  const title = message?.replace(/\s+/g, " ").trim() || `Squash ${branch}`;
  const { id } = await squashBranch(repository, { branch, title, author: requireWriter(caller).user });
  return json({ commitOid: id });
}

async function commitAt({ repository }: RepoRequest, revision: string): Promise<HubCommit> {
  return (await splitRevision(repository, [revision])).commit;
}

function emptyCommit({ caller }: RepoRequest): HubCommit {
  const seconds = Math.floor(Date.now() / 1000);
  return makeCommit({ title: "Empty branch", message: "", author: requireWriter(caller).user, seconds, files: [] });
}

/** Answers with all branches and tags. */
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

/** Answers with a commit and its ancestors, latest first, in pages. */
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
