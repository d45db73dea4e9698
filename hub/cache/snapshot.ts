// Snapshots in the Hugging Face cache. A snapshot is a folder of links to blobs, one for each file of a commit. The
// functions check which files are present, add files, and read and write refs, which map a branch or tag to a commit.
// For a snapshot that another program made without a listing, they infer its files. Nothing uses the network.

import { copyFile, lstat, mkdir, readdir, readFile, readlink, rm, stat, symlink } from "node:fs/promises";
import { dirname, relative, sep } from "node:path";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { groupBy } from "../text/group-by.ts";
import { blobName, type RepoFile } from "./listing.ts";
import { isHash, isSafeFileName, type RepoPaths } from "./paths.ts";

/**
 * `linked`: in the snapshot. `stored`: only among the blobs. `partial`: an interrupted download with `bytes` so far.
 */
export type FileState = { kind: "linked" | "stored" | "missing" } | { kind: "partial"; bytes: number };

/** Finds out where a file of a commit is. */
export async function stateOf(paths: RepoPaths, commit: string, file: RepoFile): Promise<FileState> {
  if ((await sizeOf(paths.pointer(commit, file.path))) === file.size) return { kind: "linked" };
  const blob = paths.blob(blobName(file));
  if ((await sizeOf(blob)) === file.size) return { kind: "stored" };
  const bytes = await sizeOf(incompletePath(blob));
  // A partial download that is larger than the file is useless.
  return bytes === undefined || bytes > file.size ? { kind: "missing" } : { kind: "partial", bytes };
}

/** Size of a file in bytes, following links. Undefined if it does not exist. */
export async function sizeOf(path: string): Promise<number | undefined> {
  const status = await stat(path).catch(() => undefined);
  return status?.isFile() ? status.size : undefined;
}

/** Path of an incomplete blob. */
export function incompletePath(blob: string): string {
  return `${blob}.incomplete`;
}

/**
 * Adds a file whose blob is complete to the snapshot. The link is relative, so that the cache can be moved.
 * @returns the path in the snapshot
 */
export async function linkFile(paths: RepoPaths, commit: string, file: RepoFile): Promise<string> {
  const pointer = paths.pointer(commit, file.path);
  const blob = paths.blob(blobName(file));
  const target = relative(dirname(pointer), blob);
  await mkdir(dirname(pointer), { recursive: true });
  for (let tries = 1; ; tries++) {
    if ((await readlink(pointer).catch(() => undefined)) === target) return pointer;
    try {
      if (await lstat(pointer).catch(() => undefined)) await rm(pointer, { force: true });
      await symlink(target, pointer);
      return pointer;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // Another process was faster; check what it created.
      if (code === "EEXIST" && tries < 5) continue;
      if (code !== "EPERM" && code !== "ENOTSUP" && code !== "ENOSYS") throw error;
      await copyFile(blob, pointer);
      return pointer;
    }
  }
}

/** Reads the commit that the revision had when it was last requested. Undefined if there is no valid ref. */
export async function readRef(paths: RepoPaths, revision: string): Promise<string | undefined> {
  const text = await readFile(paths.ref(revision), "utf8").catch(() => undefined);
  const commit = text?.trim();
  return isHash(commit) ? commit : undefined;
}

/**
 * Stores the commit of a branch or tag.
 * @throws the file system's error
 */
export async function writeRef(paths: RepoPaths, revision: string, commit: string): Promise<void> {
  const path = paths.ref(revision);
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomically(path, commit);
}

/**
 * The files of a snapshot without a listing. Missing files that can be inferred have size 0: links to missing blobs,
 * and missing parts of a numbered series such as `model-00002-of-00003.safetensors`. Empty if there is no snapshot.
 */
export async function filesOfSnapshot(paths: RepoPaths, commit: string): Promise<RepoFile[]> {
  const folder = paths.snapshot(commit);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const names = entries
    .filter((entry) => !entry.isDirectory())
    .map(({ parentPath, name }) => [...relative(folder, parentPath).split(sep), name].filter(Boolean).join("/"))
    .filter(isSafeFileName);
  const files = [...names, ...missingParts(names)].sort();
  return Promise.all(
    files.map(async (path) => ({ path, size: (await sizeOf(paths.pointer(commit, path))) ?? 0, gitHash: commit })),
  );
}

const PART = /^(.*-)(\d+)-of-(\d+)(.*)$/;

interface Part {
  before: string;
  number: string;
  count: string;
  after: string;
}

function partOf(name: string): Part[] {
  const [, before, number, count, after] = PART.exec(name) ?? [];
  return before === undefined ? [] : [{ before, number, count, after } as Part];
}

/** The missing parts of the numbered series among the names. Files of different types are different series. */
function missingParts(names: readonly string[]): string[] {
  const groups = groupBy(names.flatMap(partOf), ({ before, count, after }) => `${before}/${count}/${after}`);
  return [...groups.values()].flatMap((group) => {
    const [{ before, number, count, after }] = group as [Part];
    const there = new Set(group.map((part) => Number(part.number)));
    // Weights are numbered from 1, data sets from 0.
    const first = there.has(0) || (!there.has(Number(count)) && !/\.(safetensors|bin)$/.test(after)) ? 0 : 1;
    const all = Array.from({ length: Math.min(Number(count), MOST_PARTS) }, (_, i) => first + i);
    const gone = all.filter((each) => !there.has(each));
    return gone.map((each) => `${before}${String(each).padStart(number.length, "0")}-of-${count}${after}`);
  });
}

/** Largest number of parts in a series. The number in a file name can be arbitrarily large. */
const MOST_PARTS = 10_000;
