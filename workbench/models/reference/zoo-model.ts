// Makes a model folder in the cache for a model of the zoo, the authors' published checkpoints: fetches and checks the
// checkpoint, converts it, and adds the tokenizer of the base model if it is available. Later calls use this folder.

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { HubError } from "../../../hub/access/hub-error.ts";
import { type HubAccess, parseRepoName } from "../../../hub/access/repository.ts";
import { lockFile } from "../../../hub/cache/lock.ts";
import { CheckpointError } from "../../../hub/checkpoint/index.ts";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { CONFIG_FILE } from "../../../hub/model-folder/index.ts";
import { type PullEvent, type PullOptions, pull } from "../../../hub/pull/index.ts";
import type { Located } from "../../../hub/pull/locate.ts";
import { fetchCheckpoint, forgetCheckpoint, type ZooEvent } from "../../../hub/zoo/fetch.ts";
import { ZOO_RELEASE, type ZooEntry, ZooError, zooEntry, zooFolder } from "../../../hub/zoo/releases.ts";
import type { ReadingOptions } from "../../architectures/architecture.ts";
import { COMPANION_FILES } from "../folder/write-folder.ts";
import { type ImportReferenceEvent, importReference } from "./import-reference.ts";

export interface PullZooOptions extends ReadingOptions, Pick<PullOptions, "signal" | "patience"> {
  /** URL of the release, without a slash at the end. Default: the authors' release */
  release?: string | undefined;
  /** opens an engine, which the conversion needs. Default: an engine is open already */
  openEngine?: (() => Promise<unknown>) | undefined;
}

/** Progress of fetching and converting a model of the zoo. */
export type PullZooEvent =
  | ZooEvent
  | ImportReferenceEvent
  /** progress of the base model's tokenizer */
  | { kind: "tokenizer"; event: PullEvent }
  /** a line for the user */
  | { kind: "note"; text: string }
  /** the last event */
  | Located;

/**
 * Fetches and converts a model of the zoo, unless the cache has it.
 * @param name name such as `zoo:gpt2-gaudi`
 * @throws ZooError, CheckpointError or ModelError with a message of one line. A file that is not a checkpoint is
 * removed
 */
export async function* pullZoo(
  name: string,
  access: HubAccess,
  options: PullZooOptions = {},
): AsyncGenerator<PullZooEvent, void> {
  const entry = zooEntry(name);
  const folder = zooFolder(access.cache);
  const out = join(folder, "models", entry.name);
  const unlock = await lockFile(`${out}.lock`, { signal: options.signal });
  try {
    if (!(await exists(join(out, CONFIG_FILE)))) {
      const checkpoint = yield* fetched(entry, { folder, access, options });
      yield* convert(entry, { folder, checkpoint, out, options });
    }
    const { tokenizer } = entry;
    if (tokenizer !== undefined && !(await exists(join(out, "tokenizer.json")))) {
      yield* addTokenizer(tokenizer, { out, access, options });
    }
    yield { kind: "located", folder: out, name: `zoo:${entry.name}` };
  } finally {
    await unlock();
  }
}

interface Job {
  folder: string;
  options: PullZooOptions;
}

async function* fetched(
  entry: ZooEntry,
  { folder, access, options }: Job & { access: HubAccess },
): AsyncGenerator<PullZooEvent, string> {
  const { release = ZOO_RELEASE, signal, patience } = options;
  const { offline, fetch } = access;
  for await (const event of fetchCheckpoint(entry, { folder, release, offline, fetch, signal, patience })) {
    yield event;
    if (event.kind === "fetched") return event.path;
  }
  throw new ZooError("was not fetched to its end", { file: entry.file });
}

async function* convert(
  entry: ZooEntry,
  { folder, checkpoint, out, options }: Job & { checkpoint: string; out: string },
): AsyncGenerator<PullZooEvent, void> {
  await options.openEngine?.();
  try {
    const { modelType: type, base } = entry;
    yield* importReference(checkpoint, { out, type, heads: options.heads, base: { name: base } });
  } catch (error) {
    if (error instanceof CheckpointError) await forgetCheckpoint(entry, folder);
    throw error;
  }
}

/** Adds the tokenizer. If it cannot be fetched, this is reported as a note, because the model can run without it. */
async function* addTokenizer(
  of: string,
  { out, access, options }: Omit<Job, "folder"> & { out: string; access: HubAccess },
): AsyncGenerator<PullZooEvent, void> {
  const { signal, patience } = options;
  try {
    const repo = parseRepoName(of, "model");
    for await (const event of pull(repo, access, { include: COMPANION_FILES, signal, patience })) {
      yield { kind: "tokenizer", event };
      if (event.kind !== "pulled") continue;
      for (const file of event.files)
        await writeFileAtomically(join(out, file), await readFile(join(event.folder, file)));
    }
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    yield { kind: "note", text: `without the tokenizer of ${of}: ${error.message}` };
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
