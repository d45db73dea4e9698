// Paths of caches: the workbench's own folder, and the Hugging Face cache, which is shared with Python's
// huggingface_hub (its guide "Understand caching" describes the layout). Names from servers and other programs are
// checked here before they become paths.

import { writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { HubError } from "../access/hub-error.ts";
import { checkRepoName, type RepoName } from "../access/repository.ts";
import { quote } from "../files/file-error.ts";

/** The paths of one repository. Functions throw HubError for a hash or file name that is not safe. */
export interface RepoPaths {
  /** folder of the repository, `models--owner--name` */
  readonly folder: string;
  readonly blobs: string;
  blob(hash: string): string;
  snapshot(commit: string): string;
  /** path of a file in a snapshot */
  pointer(commit: string, file: string): string;
  /** file with the commit that a branch or tag had when it was last requested */
  ref(revision: string): string;
  /** file with the list of a commit's files: see listing.ts */
  listing(commit: string): string;
  lock(hash: string): string;
}

/**
 * The paths of one repository.
 * @throws RepoNameError
 */
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

/** Whether the text is a SHA-1 or SHA-256 hash in hexadecimal. Commits and blobs are named by such hashes. */
export function isHash(text: unknown): text is string {
  return typeof text === "string" && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

function checkHash(text: string): string {
  if (isHash(text)) return text;
  throw new HubError("unsafe-name", `${quote(text)} is not a hash, so it cannot name a file of the cache`);
}

const LONGEST_PART_BYTES = 255;

/** Whether the name is a valid path on every operating system and stays inside its folder. */
export function isSafeFileName(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
  if (/[\\\u0000-\u001f\u007f]|^[A-Za-z]:/.test(path)) return false;
  return path.split("/").every((part) => {
    const bytes = Buffer.byteLength(part);
    return part !== "." && part !== ".." && bytes > 0 && bytes <= LONGEST_PART_BYTES;
  });
}

/**
 * Returns a safe path unchanged.
 * @throws HubError if it leads out of its folder
 */
export function checkFileName(path: string): string {
  if (isSafeFileName(path)) return path;
  throw new HubError(
    "unsafe-name",
    `${quote(path)} is a path that leads out of the repository's folder; the Hub that names it is broken or hostile`,
  );
}

/** Marks the folder as a cache, so that backups skip it (https://bford.info/cachedir/). */
export async function tagCache(cache: string): Promise<void> {
  const tag =
    "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of files from the Hugging Face Hub.\n";
  // The tag exists already or cannot be written; both are harmless.
  await writeFile(join(cache, "CACHEDIR.TAG"), tag, { flag: "wx" }).catch(() => {});
}

/**
 * The folder for files that the workbench can create again, such as tokenized texts: $GBLR_CACHE, or `gblr` in the
 * user's cache folder.
 */
export function workbenchCache(environment: Readonly<Record<string, string | undefined>>): string {
  const { GBLR_CACHE, XDG_CACHE_HOME, HOME } = environment;
  return GBLR_CACHE || join(XDG_CACHE_HOME || join(HOME || homedir(), ".cache"), "gblr");
}
