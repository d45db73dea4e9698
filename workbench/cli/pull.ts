// `gblr pull`: downloads a model or data set from the Hub into the cache that Python uses too. The work is done in
// hub/pull.

import process from "node:process";
import type { Command } from "commander";
import { type HubAccess, parseRepoName, type RepoName, RepoNameError } from "../../hub/access/repository.ts";
import { type PullEvent, type Pulled, type PullOptions, pull } from "../../hub/pull/index.ts";
import { isZooName } from "../../hub/zoo/releases.ts";
import { withHub } from "./shared/hub-access.ts";
import { JSON_DOCUMENT, OFFLINE } from "./shared/options.ts";
import { CommandFailed, interruptible, UsageError, verb } from "./shared/program.ts";
import { LINE_EVERY, type ProgressBar, progressBar } from "./shared/progress.ts";

interface PullVerbOptions {
  dataset?: boolean;
  include?: string[];
  exclude?: string[];
  offline?: boolean;
  json?: boolean;
}

export function addPull(program: Command): void {
  verb(program, {
    name: "pull",
    summary: "download a model or data set into the Hugging Face cache and print its folder",
    example: [
      "gblr pull openai-community/gpt2",
      "gblr pull Salesforce/wikitext --dataset --include 'wikitext-103-raw-v1/*'",
      "HF_TOKEN=hf_… gblr pull owner/private@v1.0 --json",
      "gblr pull zoo:gpt2-gaudi",
    ].join("\n"),
  })
    .argument("<name>", "owner/name[@revision], where the revision is a branch, tag or commit; or zoo:name")
    .option("--dataset", "download a data set instead of a model")
    .option("--include <patterns...>", "download only files that match; * matches any characters, including slashes")
    .option("--exclude <patterns...>", "leave out files that match")
    .option("--offline", OFFLINE)
    .option("--json", JSON_DOCUMENT)
    .action(pullVerb);
}

async function pullVerb(name: string, options: PullVerbOptions): Promise<void> {
  if (isZooName(name)) return pullZooVerb(name, options);
  const repo = repoNamed(name, options.dataset ? "dataset" : "model");
  const { include, exclude, offline = false, json = false } = options;
  const pulled = await withHub(process.env, (access) =>
    interruptible("interrupted; downloaded data is kept: run the same command again to resume", (signal) =>
      pullWithProgress(repo, offline ? { ...access, offline } : access, { include, exclude, signal, json }),
    ),
  );
  const { folder, commit, files } = pulled;
  const text = json
    ? JSON.stringify({ repo: repo.id, type: repo.type, revision: repo.revision, commit, folder, files }, null, 2)
    : folder;
  process.stdout.write(`${text}\n`);
}

async function pullZooVerb(name: string, { dataset, include, exclude, offline, json }: PullVerbOptions): Promise<void> {
  const contrary = Object.entries({ "--dataset": dataset, "--include": include, "--exclude": exclude });
  const [flag] = contrary.find(([, given]) => given) ?? [];
  if (flag) throw new UsageError(`${flag} does not apply to ${name}, a released checkpoint; leave it out`);
  // Imported here so that an ordinary pull does not load an engine.
  const { pullZooWithProgress } = await import("./pull-zoo.ts");
  const { folder } = await withHub(process.env, (access) =>
    interruptible("interrupted; downloaded data is kept: run the same command again to resume", (signal) =>
      pullZooWithProgress(name, offline ? { ...access, offline } : access, { env: process.env, signal, json }),
    ),
  );
  process.stdout.write(`${json ? JSON.stringify({ name, folder }, null, 2) : folder}\n`);
}

/** Parses the name of a repository. @throws UsageError if it is invalid */
export function repoNamed(text: string, type: RepoName["type"]): RepoName {
  try {
    return parseRepoName(text, type);
  } catch (error) {
    throw error instanceof RepoNameError ? new UsageError(error.message) : error;
  }
}

/** Pulls with a progress bar on stderr. Warns there if the Hub could not be reached and the cache is used. */
export async function pullWithProgress(
  repo: RepoName,
  access: HubAccess,
  { json, ...options }: PullOptions & { json: boolean },
): Promise<Pulled> {
  const bar = progressBar({ label: repo.id, lineEvery: json ? undefined : LINE_EVERY });
  let warning = "";
  try {
    for await (const event of pull(repo, access, options)) {
      if (event.kind === "unreachable") warning = `gblr: ${event.reason}; using the cache\n`;
      if (event.kind === "pulled") return event;
      showPull(event, bar);
    }
    throw new CommandFailed(`${repo.id}: the pull ended early`);
  } catch (error) {
    // The warning is dropped because the error contains it.
    warning = "";
    throw error;
  } finally {
    bar.stop();
    process.stderr.write(warning);
  }
}

/** Shows an event on a progress bar. */
export function showPull(event: PullEvent, bar: ProgressBar): void {
  if (event.kind === "resolved") {
    bar.setTotal(event.bytes);
    bar.skip(event.cachedBytes);
  }
  if (event.kind === "progress") bar.advance(event.bytes);
  const note = noteOf(event);
  if (note !== undefined) bar.note(note);
}

function noteOf(event: PullEvent): string | undefined {
  switch (event.kind) {
    case "progress":
      return event.file;
    case "waiting":
      return `${event.file}: another process is fetching it`;
    case "retrying":
      return retryNote(event);
    case "unreachable":
      return "the Hub cannot be reached; using the cache";
  }
}

/** The text of the note that a request is repeated. */
export function retryNote({ file, reason, delayMs }: { file?: string | undefined; reason: string; delayMs: number }) {
  return `${file ?? "the Hub"}: ${reason}; trying again in ${Math.ceil(delayMs / 1000)} s`;
}
