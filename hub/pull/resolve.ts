// Finds the commit of a revision and its files: in the cache if possible, otherwise on the Hub. No file is
// downloaded.

import { datasetInfo, listFiles, modelInfo } from "@huggingface/hub";
import { HubError } from "../access/hub-error.ts";
import { formatRepoName, isCommit } from "../access/repository.ts";
import { type RepoFile, readListing, writeListing } from "../cache/listing.ts";
import { checkFileName, isHash, type RepoPaths } from "../cache/paths.ts";
import { readRef } from "../cache/snapshot.ts";
import { quote } from "../files/file-error.ts";
import { hostOf, type RequestContext } from "../request/context.ts";
import { hubFetch } from "../request/hub-fetch.ts";

/** A commit and its files. */
export interface Resolved {
  commit: string;
  /** all files of the commit. Undefined if the listing is not in the cache and the Hub was not asked */
  files: RepoFile[] | undefined;
  /** why the cache is used instead of the Hub: offline mode, or the error of the request */
  without?: "offline" | HubError;
}

/**
 * Resolves the revision.
 * @throws HubError
 */
export async function resolveRevision(context: RequestContext, paths: RepoPaths): Promise<Resolved> {
  const { repo, access } = context;
  if (access.offline) {
    const cached = await resolveInCache(context, paths);
    if (cached) return { ...cached, without: "offline" };
    throw new HubError(
      "not-cached",
      `${formatRepoName(repo)} is not in the cache ${access.cache} and --offline or HF_HUB_OFFLINE is set; pull it once without`,
    );
  }
  const cached = await resolveInCache(context, paths);
  // If the listing is in the cache, fewer attempts are made, so that a missing network is detected quickly.
  const attempts = cached?.files ? Math.min(TRIES_WITH_CACHE, context.patience.attempts) : context.patience.attempts;
  const asking = { ...context, patience: { ...context.patience, attempts } };
  try {
    const commit = isCommit(repo.revision) ? repo.revision : await latestCommit(asking);
    const known = await readListing(paths, commit);
    return { commit, files: known ?? (await askForListing(commit, asking, paths)) };
  } catch (error) {
    if (!cached || !(error instanceof HubError) || error.code !== "unreachable") throw error;
    return { ...cached, without: error };
  }
}

/** Attempts to reach the Hub if the listing is in the cache. */
const TRIES_WITH_CACHE = 3;

async function resolveInCache({ repo }: RequestContext, paths: RepoPaths): Promise<Resolved | undefined> {
  const commit = isCommit(repo.revision) ? repo.revision : await readRef(paths, repo.revision);
  if (commit === undefined) return undefined;
  return { commit, files: await readListing(paths, commit) };
}

/**
 * The current commit of a branch or tag.
 * @throws HubError
 */
export async function latestCommit(context: RequestContext): Promise<string> {
  const { repo, access } = context;
  const asked = {
    name: repo.id,
    revision: repo.revision,
    additionalFields: ["sha" as const],
    hubUrl: access.endpoint,
    fetch: hubFetch(context) as typeof fetch,
  };
  const { sha } = repo.type === "model" ? await modelInfo(asked) : await datasetInfo(asked);
  if (isHash(sha)) return sha;
  throw new HubError("refused", `${formatRepoName(repo)}: ${hostOf(access)} does not state its commit; is it a Hub?`);
}

/**
 * Largest number of files in a listing. The limit stops a listing that does not end; no repository has as many files.
 */
const MOST_FILES = 1_000_000;

/**
 * Asks the Hub for the files of a commit.
 * @throws HubError, also for a file name that leads out of its folder
 */
export async function listCommit(commit: string, context: RequestContext): Promise<RepoFile[]> {
  const { repo, access } = context;
  const files: RepoFile[] = [];
  const entries = listFiles({
    repo: { type: repo.type, name: repo.id },
    revision: commit,
    recursive: true,
    hubUrl: access.endpoint,
    fetch: hubFetch(context) as typeof fetch,
  });
  for await (const { type, path, size, oid, lfs, xetHash } of entries) {
    if (type === "directory") continue;
    const bytes = lfs?.size ?? size;
    const known =
      type === "file" &&
      isHash(oid) &&
      (lfs === undefined || isHash(lfs.oid)) &&
      Number.isSafeInteger(bytes) &&
      bytes >= 0;
    if (!known || files.length >= MOST_FILES) {
      throw new HubError(
        "refused",
        `${formatRepoName(repo)}: ${hostOf(access)} lists ${quote(path)} without a valid hash and size; is it a Hub?`,
      );
    }
    files.push({ path: checkFileName(path), size: bytes, gitHash: oid, sha256: lfs?.oid, xetHash });
  }
  return files;
}

async function askForListing(commit: string, context: RequestContext, paths: RepoPaths): Promise<RepoFile[]> {
  const files = await listCommit(commit, context);
  // If the cache is read-only, it may still have all files.
  await writeListing(paths, commit, files).catch(() => {});
  return files;
}
