// The branch that a push goes to: found with its latest commit and files, or made if that is wanted.

import { createBranch, createRepo } from "@huggingface/hub";
import { HubError } from "../access/hub-error.ts";
import type { RepoFile } from "../cache/listing.ts";
import { quote } from "../files/file-error.ts";
import { latestCommit, listCommit } from "../pull/resolve.ts";
import { pageOf, type RequestContext } from "../request/context.ts";
import { hubFetch } from "../request/hub-fetch.ts";

export interface Target {
  /** latest commit; nothing where there is none yet */
  commit: string | undefined;
  files: RepoFile[];
}

export interface TargetOptions {
  create: boolean;
  private: boolean | undefined;
  onCreated: (url: string) => void;
}

/** @throws HubError */
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
    throw new HubError("refused", `${quote(repo.id)} cannot be made: it needs an owner, as in "owner/${repo.id}"`);
  }
  try {
    await createRepo({
      repo: { type: repo.type, name: repo.id },
      ...(options.private !== undefined && { visibility: options.private ? "private" : "public" }),
      // Asked for by the type alone: the fetch puts the real one in, of whatever form.
      accessToken: "hf_",
      hubUrl: access.endpoint,
      fetch: hubFetch(context) as typeof fetch,
    });
    options.onCreated(pageOf(access, repo));
  } catch (error) {
    // Made meanwhile, or by a try whose answer was lost.
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
