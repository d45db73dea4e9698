// Pushes the files of a folder to a repository on a Hub, in one commit, with @huggingface/hub. Content that the Hub
// already has is not sent again: unchanged files, and large files that an interrupted push has uploaded.

import { commitIter } from "@huggingface/hub";
import { HubError } from "../access/hub-error.ts";
import { checkRepoName, formatRepoName, type HubAccess, type RepoName } from "../access/repository.ts";
import {
  hostOf,
  howToGetToken,
  type Patience,
  pageOf,
  type RequestContext,
  requestContext,
} from "../request/context.ts";
import { type Emit, emitting } from "../request/emitting.ts";
import { changedFiles, checkModels, folderFiles, type LocalFile } from "./folder-files.ts";
import { openTarget, type Target } from "./target.ts";
import { FileSlice, uploadFetch } from "./upload-fetch.ts";

/**
 * Pushes a folder. A repeated push continues where an interrupted one stopped.
 * @throws HubError, RepoNameError; ModelError if a model folder breaks a rule of docs/format.md; the signal's reason
 * when it is aborted
 */
export function push(
  folder: string,
  repo: RepoName,
  access: HubAccess,
  options: PushOptions = {},
): AsyncGenerator<PushEvent, void> {
  const target: RepoName = { ...repo, revision: options.revision ?? repo.revision };
  checkRepoName(target);
  return emitting(async (emit, signal) => {
    const context = requestContext(access, target, { patience: options.patience, signal, onRetry: emit });
    try {
      await pushAll(folder, { context, emit, signal, options });
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    }
  }, options.signal);
}

interface Push {
  context: RequestContext;
  emit: Emit<PushEvent>;
  signal: AbortSignal;
  options: PushOptions;
}

/** How often a commit is tried when the branch changes, or the storage refuses content it had agreed to accept. */
const MOST_COMMITS = 3;

async function pushAll(folder: string, job: Push): Promise<void> {
  const { context, options } = job;
  checkAllowed(context);
  const files = await folderFiles(folder, options);
  if (context.repo.type === "model") await checkModels(files);
  for (let tries = 1; ; tries++) {
    try {
      return await pushOnce(files, job);
    } catch (error) {
      const again = error instanceof HubError && (error.code === "conflict" || error.code === "storage");
      if (!again || tries >= MOST_COMMITS) throw error;
    }
  }
}

function checkAllowed({ access, repo }: RequestContext): void {
  const name = formatRepoName(repo);
  if (access.offline) {
    throw new HubError("refused", `${name} cannot be pushed while --offline or HF_HUB_OFFLINE is set; push without it`);
  }
  if (access.token) return;
  throw new HubError("unauthorized", `${name} cannot be pushed without a token; ${howToGetToken(access)}`);
}

async function pushOnce(files: readonly LocalFile[], job: Push): Promise<void> {
  const { context, emit, signal, options } = job;
  const url = pageOf(context.access, context.repo);
  const target = await openTarget(context, {
    create: options.create ?? false,
    private: options.private,
    onCreated: (created) => emit({ kind: "created", url: created }),
  });
  const onHashed = ({ path, size }: LocalFile, done: number) => emit({ kind: "hashing", file: path, done, size });
  const changed = await changedFiles(files, target.files, { signal, onHashed });
  const bytes = sizeOf(files);
  emit({
    kind: "listed",
    files: files.length,
    bytes,
    unchanged: files.length - changed.length,
    unchangedBytes: bytes - sizeOf(changed),
  });
  const latest = target.commit;
  const commit = changed.length === 0 && latest !== undefined ? latest : await commitFiles(changed, target, job);
  emit({ kind: "pushed", url, commit, files: changed.map(({ path }) => path) });
}

async function commitFiles(files: readonly LocalFile[], target: Target, job: Push): Promise<string> {
  const { context, signal, options } = job;
  const { access, repo } = context;
  const progress = progressOf(files, job.emit);
  const iterator = commitIter({
    repo: { type: repo.type, name: repo.id },
    title: options.message ?? `Upload ${files.length === 1 ? (files[0] as LocalFile).path : `${files.length} files`}`,
    operations: files.map(({ path, source, size }) => ({
      operation: "addOrUpdate",
      path,
      content: new FileSlice(source, { start: 0, end: size }),
    })),
    branch: repo.revision,
    // The commit is refused if the branch has changed. Otherwise, an attempt whose answer was lost would be committed
    // twice.
    ...(target.commit !== undefined && { parentCommit: target.commit }),
    hubUrl: access.endpoint,
    fetch: uploadFetch(context, { onSent: progress.sent }) as typeof fetch,
    abortSignal: signal,
    // All Hubs support plain LFS, local ones included.
    useXet: false,
    useWebWorkers: false,
  });
  for (;;) {
    const step = await iterator.next();
    if (!step.done) {
      progress.told(step.value);
      continue;
    }
    progress.finish();
    const commit = step.value?.commit.oid;
    if (commit) return commit;
    throw new HubError(
      "refused",
      `${formatRepoName(repo)}: ${hostOf(access)} accepted the files but did not return a commit`,
    );
  }
}

type LibraryEvent = ReturnType<typeof commitIter> extends AsyncGenerator<infer Event, unknown> ? Event : never;

/**
 * Turns events of the library into events of a push. The library reports fractions of files, but not while a file is
 * being sent, so sent bytes are counted here.
 */
function progressOf(files: readonly LocalFile[], emit: Emit<PushEvent>) {
  const sizes = new Map(files.map(({ path, size }) => [path, size]));
  const done = new Map<string, number>();
  const sent = (file: string, bytes: number) => {
    const total = (done.get(file) ?? 0) + bytes;
    done.set(file, total);
    emit({ kind: "uploading", file, bytes, done: total, size: sizes.get(file) ?? total });
  };
  const told = (event: LibraryEvent) => {
    if (event.event === "phase") {
      if (event.phase === "committing") emit({ kind: "committing", files: files.length });
      return;
    }
    const { path: file, progress, state } = event;
    const size = sizes.get(file) ?? 0;
    if (state === "hashing") emit({ kind: "hashing", file, done: Math.round(progress * size), size });
    else if (state === "uploading" && progress === 1 && !done.has(file)) {
      done.set(file, size);
      emit({ kind: "present", file, size });
    }
  };
  /** Reports the small files, which are sent in the commit request. */
  const finish = () => {
    for (const [file, size] of sizes) if (!done.has(file)) sent(file, size);
  };
  return { sent, told, finish };
}

function sizeOf(files: readonly LocalFile[]): number {
  return files.reduce((total, { size }) => total + size, 0);
}

/** Options of a push. */
export interface PushOptions {
  /** create the repository or the branch if it does not exist */
  create?: boolean | undefined;
  /** visibility of a new repository. Default: the owner's settings */
  private?: boolean | undefined;
  /** title of the commit */
  message?: string | undefined;
  /** only files that match one of these patterns: see access/file-patterns.ts */
  include?: readonly string[] | undefined;
  /** except files that match one of these patterns. Some files are never pushed: see folder-files.ts */
  exclude?: readonly string[] | undefined;
  /** branch. Default: the revision in the repository's name, or `main` */
  revision?: string | undefined;
  signal?: AbortSignal | undefined;
  /** timeouts and retries. Defaults: request/context.ts */
  patience?: Partial<Patience> | undefined;
}

/** Progress of a push. */
export type PushEvent =
  | { kind: "created"; url: string }
  /** the files of the folder, and how many of them the repository already has */
  | { kind: "listed"; files: number; bytes: number; unchanged: number; unchangedBytes: number }
  | { kind: "hashing"; file: string; done: number; size: number }
  /** `bytes` of a file were sent, `done` of `size` in total; negative when a part has to be sent again */
  | { kind: "uploading"; file: string; bytes: number; done: number; size: number }
  /** the Hub already has the content of this large file */
  | { kind: "present"; file: string; size: number }
  | { kind: "retrying"; file?: string | undefined; attempt: number; delayMs: number; reason: string }
  | { kind: "committing"; files: number }
  /**
   * the last event. `files` are those of the commit; empty if the repository had them all, and `commit` is then the
   * latest
   */
  | { kind: "pushed"; url: string; commit: string; files: string[] };
