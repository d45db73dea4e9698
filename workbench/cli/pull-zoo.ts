// `gblr pull zoo:name`: a released checkpoint of the method's authors as a model folder. The work is in
// models/reference; here are the progress and the engine, which packing needs.

import process from "node:process";
import type { HubAccess } from "../../hub/access/repository.ts";
import type { Located } from "../../hub/pull/locate.ts";
import { openEngine } from "../engine/core/open.ts";
import { type PullZooEvent, pullZoo } from "../models/reference/index.ts";
import { retryNote } from "./pull.ts";
import { CommandFailed } from "./shared/program.ts";
import { type ProgressBar, progressBar } from "./shared/progress.ts";
import type { Environment } from "./shared/terminal.ts";

interface PullZooSettings {
  /** GBLR_ZOO is the address of another copy of the release */
  env: Environment;
  signal?: AbortSignal | undefined;
}

/** Pulls with a bar on stderr, and a line there for what the user should know. @param name such as `zoo:gpt2-gaudi` */
export async function pullZooWithProgress(
  name: string,
  access: HubAccess,
  { env, signal }: PullZooSettings,
): Promise<Located> {
  const bar = progressBar({ label: name });
  const notes: string[] = [];
  try {
    for await (const event of pullZoo(name, access, {
      release: zooReleaseOf(env),
      signal,
      openEngine: () => openEngine(),
    })) {
      if (event.kind === "located") return event;
      if (event.kind === "note") notes.push(event.text);
      else showPullZoo(event, bar);
    }
    throw new CommandFailed(`${name}: the pull ended early`);
  } finally {
    bar.stop();
    for (const note of notes) process.stderr.write(`gblr: ${note}\n`);
  }
}

/** The address of another copy of the release, from GBLR_ZOO. */
export const zooReleaseOf = (env: Environment): string | undefined => env.GBLR_ZOO?.replace(/\/+$/, "") || undefined;

/** Puts an event of such a pull on a bar. */
export function showPullZoo(event: PullZooEvent, bar: ProgressBar): void {
  if (event.kind === "progress") {
    if (event.size !== undefined) bar.setTotal(event.size);
    bar.advance(event.bytes);
  }
  const note = noteOf(event);
  if (note !== undefined) bar.note(note);
}

function noteOf(event: PullZooEvent): string | undefined {
  switch (event.kind) {
    case "waiting":
      return "another process is fetching it";
    case "retrying":
      return retryNote(event);
    case "checking":
      return `checking ${event.tensor}`;
    case "converting":
      return `packing ${event.layers} layers`;
  }
}
