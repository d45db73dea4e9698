// The branch that is pushed to: its latest commit and its files. The repository and the branch are created on
// request.

import { createBranch, createRepo } from "@huggingface/hub";
import { HubError } from "../access/hub-error.ts";
import type { RepoFile } from "../cache/listing.ts";
import { quote } from "../files/file-error.ts";
import { latestCommit, listCommit } from "../pull/resolve.ts";
import { pageOf, type RequestContext } from "../request/context.ts";
import { hubFetch } from "../request/hub-fetch.ts";

/** State of the branch before the push. */
export interface Target {
  /** latest commit; undefined for a new branch */
  commit: string | undefined;
  files: RepoFile[];
}

/** Whether and how a missing repository or branch is created. */
export interface TargetOptions {
  create: boolean;
  private: boolean | undefined;
  onCreated: (url: string) => void;
}

/**
 * Finds or creates the branch.
 * @throws HubError
 */
export async function openTarget(context: RequestContext, options: TargetOptions): Promise<Target> {
  let error: unknown;
  try {
    return await readTarget(context);
  } catch (thrown) {
    error = thrown;
  }
  const code = error instanceof HubError ? error.code : undefined;
  const { repo } = context;
  if (code === "no-repository") {
    if (!options.create) throw hinted(error as HubError, "makes it");
    await makeRepository(context, options);
  } else if (code !== "no-revision" || !options.create) {
    throw code === "no-revision" ? hinted(error as HubError, "makes the branch") : error;
  }
  if (repo.revision !== "main") await makeBranch(context);
  return readTarget(context);
}

async function readTarget(context: RequestContext): Promise<Target> {
  const commit = await latestCommit(context);
  return { commit, files: await listCommit(commit, context) };
}

async function makeRepository(context: RequestContext, options: TargetOptions): Promise<void> {
  const { repo, access } = context;
  if (!repo.id.includes("/")) {
    throw new HubError("refused", `${quote(repo.id)} cannot be created: it needs an owner, as in "owner/${repo.id}"`);
  }
  try {
    await createRepo({
      repo: { type: repo.type, name: repo.id },
      ...(options.private !== undefined && { visibility: options.private ? "private" : "public" }),
      // A placeholder, because the type requires a token. hubFetch sends the real one.
      accessToken: "hf_",
      hubUrl: access.endpoint,
      fetch: hubFetch(context) as typeof fetch,
    });
    options.onCreated(pageOf(access, repo));
  } catch (error) {
    // It was created in the meantime, or by an attempt whose answer was lost.
    if (!(error instanceof HubError) || error.code !== "conflict") throw error;
  }
}

async function makeBranch(context: RequestContext): Promise<void> {
  const { repo, access } = context;
  await createBranch({
    repo: { type: repo.type, name: repo.id },
    branch: repo.revision,
    hubUrl: access.endpoint,
    fetch: hubFetch(context) as typeof fetch,
  }).catch((error: unknown) => {
    if (!(error instanceof HubError) || error.code !== "conflict") throw error;
  });
}

function hinted({ code, message, status }: HubError, does: string): HubError {
  return new HubError(code, `${message}; --create ${does}`, { ...(status !== undefined && { status }) });
}
