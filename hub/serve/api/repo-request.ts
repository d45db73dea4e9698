// The first steps of most handlers: find the repository of an address, if the caller may see it, and the commit of a
// revision.

import type { RepoType } from "../../access/repository.ts";
import { quote } from "../../files/file-error.ts";
import type { HubCommit } from "../store/commit-object.ts";
import type { HubStore } from "../store/hub-store.ts";
import type { RepoSettings } from "../store/records.ts";
import { HubRefusal } from "../store/refusal.ts";
import type { Repository } from "../store/repository.ts";
import { mayRead, noRepository, requireWriter } from "./permissions.ts";
import type { HubRequest } from "./reply.ts";

/** An address below a repository. */
export interface RepoAddress {
  type: RepoType;
  id: string;
  /** segments of the path after the repository and the action */
  rest: string[];
}

/** A request about a repository that the caller may see. */
export interface RepoRequest extends HubRequest {
  store: HubStore;
  repository: Repository;
  settings: RepoSettings;
  rest: string[];
}

/**
 * Finds the repository of an address.
 * @throws {HubRefusal} RepoNotFound
 */
export async function openRepository(request: HubRequest, store: HubStore, address: RepoAddress): Promise<RepoRequest> {
  const { type, id, rest } = address;
  const repository = await store.find(type, id);
  const settings = await repository?.settings();
  if (!repository || !settings || !mayRead(settings, request.caller)) throw noRepository(id, request.caller);
  return { ...request, store, repository, settings, rest };
}

/**
 * The same for changes. The permission is checked first, so that callers who may not write learn nothing about the
 * repository.
 */
export async function openForWriting(request: HubRequest, store: HubStore, address: RepoAddress): Promise<RepoRequest> {
  requireWriter(request.caller);
  return openRepository(request, store, address);
}

/** Most segments of a revision that contains slashes, such as `refs/heads/main`. */
const LONGEST_REVISION = 5;

/**
 * Splits a path that starts with a revision. Clients may or may not encode the slashes in the name of a branch.
 * @throws {HubRefusal} RevisionNotFound
 */
export async function splitRevision(
  repository: Repository,
  segments: readonly string[],
): Promise<{ revision: string; commit: HubCommit; path: string }> {
  for (let count = 1; count <= Math.min(segments.length, LONGEST_REVISION); count++) {
    const revision = segments.slice(0, count).join("/");
    const commit = await repository.commit(revision);
    if (commit) return { revision, commit, path: segments.slice(count).join("/") };
  }
  throw noRevision(repository, segments[0] ?? "");
}

/** The refusal for a revision that does not exist. */
export function noRevision({ id }: Repository, revision: string): HubRefusal {
  return new HubRefusal(404, `${id} has no branch, tag or commit ${quote(revision)}`, "RevisionNotFound");
}
