// The files that a push uploads: all files of a folder except those of the operating system, editors, git and
// unfinished work. Model folders among them must follow docs/format.md, so that no invalid model is published; folders
// of other programs' models are not checked. Files that the repository already has are found by size and hash.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { describePatterns, type FilePatterns, fileFilter } from "../access/file-patterns.ts";
import { HubError } from "../access/hub-error.ts";
import type { RepoFile } from "../cache/listing.ts";
import { checkFileName } from "../cache/paths.ts";
import { reason } from "../files/byte-source.ts";
import { CONFIG_FILE, checkModelFolder } from "../model-folder/index.ts";
import { isJsonObject, jsonOrUndefined } from "../text/json.ts";

/** A file to push. */
export interface LocalFile {
  /** path in the repository, separated by slashes */
  path: string;
  /** path on this machine */
  source: string;
  /** in bytes */
  size: number;
}

/** Names of files and folders that are never pushed, at any depth. */
const NEVER = [
  ".git",
  ".cache",
  ".DS_Store",
  "Thumbs.db",
  "__pycache__",
  "*.pyc",
  ".*.tmp",
  "*.incomplete",
  "checkpoints",
  "checkpoint-*",
];

const never = fileFilter({ include: NEVER });

/**
 * Lists the files of a folder, sorted by path.
 * @throws HubError if there are none, or the folder cannot be read
 */
export async function folderFiles(folder: string, patterns: FilePatterns): Promise<LocalFile[]> {
  const files: LocalFile[] = [];
  try {
    await walk({ folder, prefix: "", above: [] }, files);
  } catch (error) {
    if (error instanceof HubError) throw error;
    throw new HubError("no-access", `${folder} cannot be pushed: ${reason(error)}`, { cause: error });
  }
  const chosen = files.filter(({ path }) => fileFilter(patterns)(path));
  if (chosen.length === 0) {
    const which = describePatterns(patterns);
    throw new HubError("no-match", `${folder} has no file${which ? ` that ${which}` : ""}; there is nothing to push`);
  }
  return chosen.sort((a, b) => (a.path < b.path ? -1 : 1));
}

interface Walk {
  folder: string;
  /** prefix of the paths in the repository */
  prefix: string;
  /** real paths of the parent folders */
  above: readonly string[];
}

async function walk({ folder, prefix, above }: Walk, files: LocalFile[]): Promise<void> {
  const here = await realpath(folder);
  if (above.includes(here)) throw new HubError("no-access", `${folder} is a link to one of its parent folders`);
  for (const name of await readdir(folder)) {
    if (never(name)) continue;
    const source = join(folder, name);
    const path = checkFileName(`${prefix}${name}`);
    // Follows links, since a snapshot in the cache consists of them.
    const status = await stat(source);
    if (status.isDirectory()) await walk({ folder: source, prefix: `${path}/`, above: [...above, here] }, files);
    else if (status.isFile()) files.push({ path, source, size: status.size });
  }
}

const MODEL_FILE = /^(config\.json|(model|trainable)[\w.-]*\.safetensors(\.index\.json)?)$/;

/**
 * Checks the model folders among the files.
 * @throws ModelError, one line with the tensor and the rule
 */
export async function checkModels(files: readonly LocalFile[]): Promise<void> {
  const folders = new Set(files.flatMap(({ source }) => (MODEL_FILE.test(basename(source)) ? [dirname(source)] : [])));
  for (const folder of folders) if (await isStructured(folder)) await checkModelFolder(folder);
}

async function isStructured(folder: string): Promise<boolean> {
  const json = jsonOrUndefined(await readFile(join(folder, CONFIG_FILE), "utf8").catch(() => ""));
  return isJsonObject(json) && (json.gblr !== undefined || /^gblr_/.test(String(json.model_type)));
}

/** How files are compared with those of a commit. */
export interface Comparing {
  signal: AbortSignal;
  /** called with the number of bytes of a file that have been hashed */
  onHashed: (file: LocalFile, done: number) => void;
}

/** The files that a commit does not have, or has with different content. */
export async function changedFiles(
  files: readonly LocalFile[],
  listing: readonly RepoFile[],
  comparing: Comparing,
): Promise<LocalFile[]> {
  const remote = new Map(listing.map((file) => [file.path, file]));
  const changed: LocalFile[] = [];
  for (const file of files) {
    const there = remote.get(file.path);
    if (!there || !(await isSame(file, there, comparing))) changed.push(file);
  }
  return changed;
}

/** Bytes between two calls of `onHashed` for a file. */
const EVENT_BYTES = 2 ** 22;

async function isSame(file: LocalFile, { size, gitHash, sha256 }: RepoFile, comparing: Comparing): Promise<boolean> {
  if (file.size !== size) return false;
  const git = gitHash.length === 64 ? "sha256" : "sha1";
  const hash = sha256 === undefined ? createHash(git).update(`blob ${size}\0`) : createHash("sha256");
  let done = 0;
  let told = 0;
  for await (const chunk of createReadStream(file.source, { signal: comparing.signal, highWaterMark: 2 ** 20 })) {
    hash.update(chunk as Uint8Array);
    done += (chunk as Uint8Array).byteLength;
    if (done - told < EVENT_BYTES) continue;
    comparing.onHashed(file, done);
    told = done;
  }
  return hash.digest("hex") === (sha256 ?? gitHash);
}
