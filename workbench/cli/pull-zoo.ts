// `gblr pull zoo:name`: makes a model folder from a checkpoint that the method's authors released, with
// models/reference. Packing the layers needs an engine.

import process from "node:process";
import type { HubAccess } from "../../hub/access/repository.ts";
import type { Located } from "../../hub/pull/locate.ts";
import { countOf } from "../../hub/text/numbers.ts";
import { openEngine } from "../engine/core/open.ts";
import { type PullZooEvent, pullZoo } from "../models/reference/index.ts";
import { retryNote } from "./pull.ts";
import { CommandFailed } from "./shared/program.ts";
import { LINE_EVERY, type ProgressBar, progressBar } from "./shared/progress.ts";
import type { Environment } from "./shared/terminal.ts";

interface PullZooSettings {
  /** environment variables; GBLR_ZOO is the URL of another copy of the release */
  env: Environment;
  signal?: AbortSignal | undefined;
  /** whether no progress is written if stderr is not a terminal. Default false */
  json?: boolean | undefined;
}

/** Pulls with a progress bar and notes on stderr. @param name such as `zoo:gpt2-gaudi` */
export async function pullZooWithProgress(
  name: string,
  access: HubAccess,
  { env, signal, json = false }: PullZooSettings,
): Promise<Located> {
  const bar = progressBar({ label: name, lineEvery: json ? undefined : LINE_EVERY });
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

/** The URL of the copy of the release in GBLR_ZOO; undefined for the original release. */
export const zooReleaseOf = (env: Environment): string | undefined => env.GBLR_ZOO?.replace(/\/+$/, "") || undefined;

/** Shows an event on a progress bar. */
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
      return `packing ${countOf(event.layers, "layer")}`;
  }
}
