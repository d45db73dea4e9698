// Pulls a model or data set from a Hub into the Hugging Face cache. The last event has the folder of the snapshot, in
// which all requested files are present and verified. If that fails, the generator throws instead.

import { mkdir, rm, statfs } from "node:fs/promises";
import { describePatterns, fileFilter } from "../access/file-patterns.ts";
import { HubError } from "../access/hub-error.ts";
import { formatRepoName, type HubAccess, isCommit, type RepoName } from "../access/repository.ts";
import { blobName, type RepoFile } from "../cache/listing.ts";
import { type RepoPaths, repoPaths, tagCache } from "../cache/paths.ts";
import { type FileState, filesOfSnapshot, linkFile, readRef, stateOf, writeRef } from "../cache/snapshot.ts";
import { reason } from "../files/byte-source.ts";
import { type RequestContext, requestContext } from "../request/context.ts";
import { type Emit, eachOf, emitting } from "../request/emitting.ts";
import { groupBy } from "../text/group-by.ts";
import type { PullEvent, PullOptions } from "./events.ts";
import { fetchBlob } from "./fetch-blob.ts";
import { type Resolved, resolveRevision } from "./resolve.ts";

export type { PullEvent, Pulled, PullOptions } from "./events.ts";

/** Number of blobs that are downloaded at the same time. */
const CONNECTIONS = 4;

/**
 * Pulls a repository. Files that were downloaded before an error are kept for the next pull.
 * @throws HubError, RepoNameError; the signal's reason when it is aborted
 */
export function pull(repo: RepoName, access: HubAccess, options: PullOptions = {}): AsyncGenerator<PullEvent, void> {
  const paths = repoPaths(access.cache, repo);
  return emitting(async (emit, signal) => {
    const { patience } = options;
    const context = requestContext(access, repo, { patience, signal, onRetry: emit });
    try {
      await pullAll({ context, paths, emit, options });
    } catch (error) {
      throw signal.aborted ? signal.reason : explained(error, access);
    }
  }, options.signal);
}

interface Pull {
  context: RequestContext;
  paths: RepoPaths;
  emit: Emit<PullEvent>;
  options: PullOptions;
}

interface Wanted {
  file: RepoFile;
  state: FileState;
}

async function pullAll(job: Pull): Promise<void> {
  const { context, paths, emit, options } = job;
  const { repo } = context;
  const resolved = await resolveRevision(context, paths);
  const { commit, without } = resolved;
  if (without instanceof HubError) emit({ kind: "unreachable", reason: without.message });
  const files = resolved.files ? chooseFiles(resolved.files, job) : await unlistedFiles(commit, job);
  const all: Wanted[] = await Promise.all(
    files.map(async (file) => ({ file, state: await stateOf(paths, commit, file) })),
  );
  const isOptional = fileFilter({ include: options.optional ?? [] });
  const wanted = without ? all.filter((each) => !isMissing(each) || !isOptional(each.file.path)) : all;
  emit({ kind: "resolved", repo: repo.id, commit, ...countOf(wanted) });
  const missing = wanted.filter(isMissing);
  if (without && missing.length > 0) throw incomplete(resolved, { missing, wanted, context });
  const branch = !isCommit(repo.revision) && !without;
  // The first pull writes the ref before the download, so that an incomplete snapshot can be found. Later pulls write
  // it after the download: until then the branch stays at the old, complete snapshot.
  if (branch && missing.length > 0 && !(await readRef(paths, repo.revision))) {
    await writeRef(paths, repo.revision, commit);
  }
  await checkSpace(missing, context);
  await placeAll(wanted, { ...job, commit }).catch(async (error) => {
    // If a file does not match its listing, the listing may be wrong. The next pull requests it again.
    if (error instanceof HubError && (error.code === "no-file" || error.code === "corrupt")) {
      await rm(paths.listing(commit), { force: true }).catch(() => {});
    }
    throw error;
  });
  if (branch) await updateRef(job, commit);
  const names = wanted.map(({ file }) => file.path).sort();
  emit({ kind: "pulled", folder: paths.snapshot(commit), commit, files: names });
}

function chooseFiles(files: readonly RepoFile[], { context, options }: Pull): RepoFile[] {
  const chosen = files.filter((file) => fileFilter(options)(file.path));
  if (chosen.length > 0) return chosen;
  const name = formatRepoName(context.repo);
  if (files.length === 0) throw new HubError("no-match", `${name} has no files yet`);
  throw new HubError("no-match", `${name} has no file that ${describePatterns(options)}; it has ${someOf(files)}`);
}

/**
 * Selects files of a commit without a listing, as another program may have left in the cache. The files of its snapshot
 * are taken as those of the commit.
 */
async function unlistedFiles(commit: string, { context, paths, options }: Pull): Promise<RepoFile[]> {
  const files = await filesOfSnapshot(paths, commit);
  const chosen = files.filter((file) => fileFilter(options)(file.path));
  if (chosen.length > 0) return chosen;
  const which = describePatterns(options);
  const inCommit = `of commit ${commit.slice(0, 8)}`;
  const only = `no file ${inCommit}${which && ` that ${which}`}, only ${someOf(files)}`;
  const where = `the cache ${context.access.cache} has ${files.length === 0 ? `no files ${inCommit}` : only}`;
  throw new HubError("not-cached", `${formatRepoName(context.repo)}: ${where}; pull it once while online`);
}

const isMissing = ({ state }: Wanted): boolean => state.kind === "missing" || state.kind === "partial";

interface Placing extends Pull {
  commit: string;
}

/**
 * Downloads missing blobs and links all files into the snapshot. Files with the same content share a blob. Large blobs
 * come first, so that no large blob is left for a single connection at the end.
 */
async function placeAll(wanted: readonly Wanted[], job: Placing): Promise<void> {
  const { context, emit, paths, commit } = job;
  const blobs = groupBy(wanted, ({ file }) => blobName(file));
  const queue = [...blobs.values()].sort((a, b) => (b[0]?.file.size ?? 0) - (a[0]?.file.size ?? 0));
  await eachOf(queue, { connections: CONNECTIONS, signal: context.signal }, async (group, signal) => {
    const fetched = group.some(isMissing)
      ? await fetchBlob((group[0] as Wanted).file, { ...job, context: { ...context, signal } })
      : false;
    for (const { file, state } of group) {
      const linked = state.kind === "linked";
      const path = linked ? paths.pointer(commit, file.path) : await linkFile(paths, commit, file);
      emit({ kind: "file", file: file.path, path, size: file.size, from: fetched ? "hub" : "cache" });
    }
  });
}

async function updateRef({ paths, context: { repo } }: Pull, commit: string): Promise<void> {
  if ((await readRef(paths, repo.revision)) === commit) return;
  // If the cache is read-only, a complete snapshot is still usable.
  await writeRef(paths, repo.revision, commit).catch(() => {});
}

function countOf(wanted: readonly Wanted[]) {
  const bytesOf = ({ file, state }: Wanted) => {
    if (state.kind === "partial") return state.bytes;
    return state.kind === "missing" ? 0 : file.size;
  };
  const sum = (sizes: number[]) => sizes.reduce((total, size) => total + size, 0);
  return {
    files: wanted.length,
    bytes: sum(wanted.map(({ file }) => file.size)),
    cachedFiles: wanted.filter(({ state }) => state.kind === "linked" || state.kind === "stored").length,
    cachedBytes: sum(wanted.map(bytesOf)),
  };
}

async function checkSpace(missing: readonly Wanted[], { access, repo }: RequestContext): Promise<void> {
  if (missing.length === 0) return;
  await mkdir(access.cache, { recursive: true });
  await tagCache(access.cache);
  const space = await statfs(access.cache).catch(() => undefined);
  if (!space || space.blocks === 0) return;
  const free = space.bavail * space.bsize;
  const { bytes, cachedBytes } = countOf(missing);
  const needed = bytes - cachedBytes;
  if (needed <= free) return;
  throw new HubError(
    "no-space",
    `${formatRepoName(repo)} needs ${needed} more bytes, but ${access.cache} has ${free} free; free some space, or set HF_HOME to another disk`,
  );
}

interface Incomplete {
  missing: readonly Wanted[];
  wanted: readonly Wanted[];
  context: RequestContext;
}

function incomplete({ commit, without }: Resolved, { missing, wanted, context }: Incomplete): HubError {
  const files = missing.map(({ file }) => file);
  const why =
    without instanceof HubError ? without.message : "--offline or HF_HUB_OFFLINE is set; pull it once without";
  return new HubError(
    "not-cached",
    `${formatRepoName(context.repo)}: the cache lacks ${files.length} of ${wanted.length} files of commit ${commit.slice(0, 8)} (${someOf(files)}): ${why}`,
  );
}

const MOST_NAMES = 5;

function someOf(files: readonly RepoFile[]): string {
  const names = files.slice(0, MOST_NAMES).map(({ path }) => path);
  return [...names, ...(files.length > MOST_NAMES ? [`${files.length - MOST_NAMES} more`] : [])].join(", ");
}

/** Turns an error of the file system into one line about the cache. */
function explained(error: unknown, { cache }: HubAccess): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (error instanceof HubError || typeof code !== "string") return error;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new HubError("no-space", `${cache} is full; free some space and pull again: downloaded bytes are kept`, {
      cause: error,
    });
  }
  const path = (error as NodeJS.ErrnoException).path ?? cache;
  const problem = code === "EROFS" ? "it is read-only" : reason(error);
  return new HubError("no-access", `${path} cannot be written: ${problem}; set HF_HOME to a writable folder`, {
    cause: error,
  });
}
