// Where things are in the Hugging Face cache, which Python's huggingface_hub shares, and which names may become paths
// in it. Everything that a server or another program says is checked here before it is one.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HubError } from "../access/hub-error.ts";
import { checkRepoName, type RepoName } from "../access/repository.ts";
import { quote } from "../files/file-error.ts";

export interface RepoPaths {
  /** `models--owner--name` */
  readonly folder: string;
  readonly blobs: string;
  blob(hash: string): string;
  snapshot(commit: string): string;
  /** path of a file in a snapshot */
  pointer(commit: string, file: string): string;
  /** holds the commit that a branch or tag had when it was last asked for */
  ref(revision: string): string;
  /** the files of a commit: see listing.ts */
  listing(commit: string): string;
  lock(hash: string): string;
}

/** @throws RepoNameError */
export function repoPaths(cache: string, repo: RepoName): RepoPaths {
  checkRepoName(repo);
  const name = [`${repo.type}s`, ...repo.id.split("/")].join("--");
  const folder = join(cache, name);
  const snapshot = (commit: string) => join(folder, "snapshots", checkHash(commit));
  return {
    folder,
    blobs: join(folder, "blobs"),
    blob: (hash) => join(folder, "blobs", checkHash(hash)),
    snapshot,
    pointer: (commit, file) => join(snapshot(commit), ...checkFileName(file).split("/")),
    ref: (revision) => join(folder, "refs", ...revision.split("/")),
    listing: (commit) => join(folder, "trees", `${checkHash(commit)}.json`),
    lock: (hash) => join(cache, ".locks", name, `${checkHash(hash)}.lock`),
  };
}

/** SHA-1 or SHA-256 in hexadecimal: what commits and blobs are called. */
export function isHash(text: unknown): text is string {
  return typeof text === "string" && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

function checkHash(text: string): string {
  if (isHash(text)) return text;
  throw new HubError("unsafe-name", `${quote(text)} is no hash, and nothing in the cache can be called so`);
}

const LONGEST_PART_BYTES = 255;

/** Whether the path stays in its folder on every system, and can be a path there at all. */
export function isSafeFileName(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
  if (/[\\\u0000-\u001f\u007f]|^[A-Za-z]:/.test(path)) return false;
  return path.split("/").every((part) => {
    const bytes = Buffer.byteLength(part);
    return part !== "." && part !== ".." && bytes > 0 && bytes <= LONGEST_PART_BYTES;
  });
}

/** @throws HubError for a path that leads out of its folder */
export function checkFileName(path: string): string {
  if (isSafeFileName(path)) return path;
  throw new HubError(
    "unsafe-name",
    `${quote(path)} would not be a file in the repository's own folder; the Hub that names it is broken or hostile`,
  );
}

/** Marks the cache as one, so that backups leave it out: https://bford.info/cachedir/ */
export async function tagCache(cache: string): Promise<void> {
  const tag =
    "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of files from the Hugging Face Hub.\n";
  // There already, or no right to write: either way no harm.
  await writeFile(join(cache, "CACHEDIR.TAG"), tag, { flag: "wx" }).catch(() => {});
}
