// `gblr push`: uploads the files of a folder to a repository on the Hub in one commit. The work is done in hub/push.

import process from "node:process";
import type { Command } from "commander";
import type { HubAccess, RepoName } from "../../hub/access/repository.ts";
import { type PushEvent, type PushOptions, push } from "../../hub/push/index.ts";
import { countOf } from "../../hub/text/numbers.ts";
import { repoNamed, retryNote } from "./pull.ts";
import { withHub } from "./shared/hub-access.ts";
import { JSON_DOCUMENT } from "./shared/options.ts";
import { CommandFailed, interruptible, UsageError, verb } from "./shared/program.ts";
import { LINE_EVERY, type ProgressBar, progressBar } from "./shared/progress.ts";
import { formatBytes } from "./shared/terminal.ts";

type Pushed = Extract<PushEvent, { kind: "pushed" }>;
type Listed = Extract<PushEvent, { kind: "listed" }>;

interface PushVerbOptions {
  create?: boolean;
  private?: boolean;
  dataset?: boolean;
  message?: string;
  revision?: string;
  include?: string[];
  exclude?: string[];
  json?: boolean;
}

export function addPush(program: Command): void {
  verb(program, {
    name: "push",
    summary: "upload a folder to a repository on the Hub, in one commit",
    example: [
      "HF_TOKEN=hf_… gblr push runs/gpt2-gaudi owner/gpt2-gaudi --create",
      "gblr push runs/gpt2-gaudi owner/gpt2-gaudi --revision trial --message 'Half the budget'",
    ].join("\n"),
  })
    .argument("<folder>", "model folder or data set folder")
    .argument("<name>", "repository: owner/name or owner/name@branch")
    .option("--create", "create the repository and the branch if they do not exist")
    .option("--private", "with --create: make the repository private")
    .option("--dataset", "push a data set instead of a model")
    .option("--message <title>", "title of the commit")
    .option("--revision <branch>", "branch to commit to (default: main)")
    .option("--include <patterns...>", "upload only files that match; * matches any characters, including slashes")
    .option(
      "--exclude <patterns...>",
      "leave out files that match; checkpoints and temporary files are always left out",
    )
    .option("--json", JSON_DOCUMENT)
    .action(pushVerb);
}

async function pushVerb(folder: string, name: string, options: PushVerbOptions): Promise<void> {
  const { dataset = false, json = false, revision, ...rest } = options;
  if (rest.private && !rest.create) {
    throw new UsageError("--private applies only to a repository that is created; add --create");
  }
  if (revision !== undefined && name.includes("@")) {
    throw new UsageError(`${name} and --revision ${revision} both name a branch; choose one`);
  }
  const repo = repoNamed(revision === undefined ? name : `${name}@${revision}`, dataset ? "dataset" : "model");
  const { pushed, listed } = await withHub(process.env, (access, named) =>
    interruptible(
      "interrupted; nothing was committed: run the same command again, which does not repeat uploads of large files",
      async (signal) => {
        const { pushed, listed } = await pushWithProgress({ folder, repo, access }, { ...rest, signal, json });
        return { pushed: { ...pushed, url: named(pushed.url) }, listed };
      },
    ),
  );
  const { url, commit, files } = pushed;
  const text = json
    ? JSON.stringify({ repo: repo.id, type: repo.type, revision: repo.revision, url, commit, files }, null, 2)
    : summary(pushed, listed);
  process.stdout.write(`${text}\n`);
}

function summary({ url, commit, files }: Pushed, { bytes, unchanged, unchangedBytes }: Listed): string {
  if (files.length === 0) return `${url} is up to date, at commit ${commit.slice(0, 8)}`;
  const rest = unchanged > 0 ? `; ${unchanged} more unchanged` : "";
  return `${url}\n  commit ${commit.slice(0, 8)}: ${countOf(files.length, "file")}, ${formatBytes(bytes - unchangedBytes)}${rest}`;
}

interface Pushing {
  folder: string;
  repo: RepoName;
  access: HubAccess;
}

/** Pushes with a progress bar on stderr. */
async function pushWithProgress(
  { folder, repo, access }: Pushing,
  { json, ...options }: PushOptions & { json: boolean },
): Promise<{ pushed: Pushed; listed: Listed }> {
  const bar = progressBar({ label: repo.id, lineEvery: json ? undefined : LINE_EVERY });
  let listed: Listed | undefined;
  try {
    for await (const event of push(folder, repo, access, options)) {
      if (event.kind === "listed") listed = event;
      if (event.kind === "pushed" && listed) return { pushed: event, listed };
      showPush(event, bar);
    }
    throw new CommandFailed(`${repo.id}: the push ended early`);
  } finally {
    bar.stop();
  }
}

/** Shows an event on a progress bar. */
export function showPush(event: PushEvent, bar: ProgressBar): void {
  if (event.kind === "listed") bar.setTotal(event.bytes - event.unchangedBytes);
  if (event.kind === "uploading") bar.advance(event.bytes);
  if (event.kind === "present") bar.skip(event.size);
  const note = noteOf(event);
  if (note !== undefined) bar.note(note);
}

function noteOf(event: PushEvent): string | undefined {
  switch (event.kind) {
    case "uploading":
      return event.file;
    case "present":
      return `${event.file} is unchanged`;
    case "hashing":
      return `hashing ${event.file}`;
    case "committing":
      return "committing";
    case "retrying":
      return retryNote(event);
  }
}
