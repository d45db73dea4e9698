// Finds the local folder of a model or a data set from the name that the user gave. A folder is used as it is,
// `owner/name[@revision]` is pulled from the Hub, and `zoo:name` is passed to a function that converts a released
// checkpoint.

import { stat } from "node:fs/promises";
import { HubError } from "../access/hub-error.ts";
import { type HubAccess, parseRepoName, type RepoName, RepoNameError, type RepoType } from "../access/repository.ts";
import { quote } from "../files/file-error.ts";
import { isZooName, zooEntry } from "../zoo/releases.ts";
import { type PullEvent, type PullOptions, pull } from "./index.ts";

/** The result of `locate`. */
export interface Located {
  kind: "located";
  folder: string;
  /** what the user typed */
  name: string;
  /** commit on the Hub, if the folder was pulled */
  commit?: string;
  /** `owner/name`, if the folder was pulled */
  repo?: string;
}

/** Makes a model folder from a released checkpoint. The last event is the folder. */
export type LocateZoo<Event> = (
  name: string,
  access: HubAccess,
  options: { signal?: AbortSignal | undefined },
) => AsyncGenerator<Event | Located, void>;

/** Options of `locate`. */
export interface LocateOptions<ZooEvent = never> extends PullOptions {
  /** handles `zoo:` names. By default they are an error */
  zoo?: LocateZoo<ZooEvent> | undefined;
}

/**
 * Finds or fetches a folder. The last event is `located`.
 * @throws HubError, RepoNameError, ZooError
 */
export async function* locate<ZooEvent = never>(
  text: string,
  type: RepoType,
  access: HubAccess,
  { zoo, ...options }: LocateOptions<ZooEvent> = {},
): AsyncGenerator<PullEvent | ZooEvent | Located, void> {
  if (isZooName(text)) {
    const { name } = zooEntry(text);
    if (type === "model" && zoo) return yield* zoo(text, access, { signal: options.signal });
    throw new HubError(
      "refused",
      `${text} cannot be used here; run "gblr pull zoo:${name}" and give the folder it prints`,
    );
  }
  if ((await stat(text).catch(() => undefined))?.isDirectory()) {
    return yield { kind: "located", folder: text, name: text };
  }
  const repo = parseLocation(text, type);
  for await (const event of pull(repo, access, options)) {
    yield event;
    if (event.kind !== "pulled") continue;
    yield { kind: "located", folder: event.folder, name: text, commit: event.commit, repo: repo.id };
  }
}

/**
 * Parses the name of a repository. Text that looks like a path is reported as a missing folder, not as an invalid
 * name.
 * @throws HubError, RepoNameError
 */
export function parseLocation(text: string, type: RepoType): RepoName {
  if (/^(?:[./~]|[A-Za-z]:[\\/])/.test(text)) {
    throw new HubError(
      "no-file",
      `there is no folder ${quote(text)}; give a ${type} folder or a name such as owner/name`,
    );
  }
  try {
    return parseRepoName(text, type);
  } catch (error) {
    if (!(error instanceof RepoNameError)) throw error;
    throw new RepoNameError(`there is no folder ${quote(text)}, and ${error.message}`);
  }
}
