// A snapshot is a folder of links to blobs, one a file of a commit. Here: which of its files are there, putting one
// there, and the refs that say which commit a branch had. Nothing is fetched.

import { copyFile, lstat, mkdir, readdir, readFile, readlink, rm, stat, symlink } from "node:fs/promises";
import { dirname, relative, sep } from "node:path";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { blobName, type RepoFile } from "./listing.ts";
import { isHash, isSafeFileName, type RepoPaths } from "./paths.ts";

/** `linked` is in the snapshot, `stored` among the blobs only, `partial` a broken download, of `bytes` so far. */
export type FileState = { kind: "linked" | "stored" | "missing" } | { kind: "partial"; bytes: number };

export async function stateOf(paths: RepoPaths, commit: string, file: RepoFile): Promise<FileState> {
  if ((await sizeOf(paths.pointer(commit, file.path))) === file.size) return { kind: "linked" };
  const blob = paths.blob(blobName(file));
  if ((await sizeOf(blob)) === file.size) return { kind: "stored" };
  const bytes = await sizeOf(incompletePath(blob));
  // More than the whole is of no use.
  return bytes === undefined || bytes > file.size ? { kind: "missing" } : { kind: "partial", bytes };
}

/** Bytes of a file, through links; nothing if there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  const status = await stat(path).catch(() => undefined);
  return status?.isFile() ? status.size : undefined;
}

/** Where a blob is while it is not whole. */
export function incompletePath(blob: string): string {
  return `${blob}.incomplete`;
}

/** Puts a file whose blob is whole into the snapshot, by a relative link, so that the cache can be moved. */
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
      // Another process was faster; look again at what it has put there.
      if (code === "EEXIST" && tries < 5) continue;
      if (code !== "EPERM" && code !== "ENOTSUP" && code !== "ENOSYS") throw error;
      await copyFile(blob, pointer);
      return pointer;
    }
  }
}

/** The commit that the revision had when it was last asked for. */
export async function readRef(paths: RepoPaths, revision: string): Promise<string | undefined> {
  const text = await readFile(paths.ref(revision), "utf8").catch(() => undefined);
  const commit = text?.trim();
  return isHash(commit) ? commit : undefined;
}

export async function writeRef(paths: RepoPaths, revision: string, commit: string): Promise<void> {
  const path = paths.ref(revision);
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomically(path, commit);
}

/** All files, by name; those that are not there, though something names them, with size 0. None where there is no snapshot. */
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

/** The parts of files in several that are not among these. */
function missingParts(names: readonly string[]): string[] {
  const groups = Map.groupBy(names.flatMap(partOf), ({ before, count }) => `${before}${count}`);
  return [...groups.values()].flatMap((group) => {
    const [{ before, number, count, after }] = group as [Part];
    const there = new Set(group.map((part) => Number(part.number)));
    // Weights are numbered from 1, data from 0.
    const first = there.has(0) || (!there.has(Number(count)) && !/\.(safetensors|bin)$/.test(after)) ? 0 : 1;
    const all = Array.from({ length: Math.min(Number(count), MOST_PARTS) }, (_, i) => first + i);
    const gone = all.filter((each) => !there.has(each));
    return gone.map((each) => `${before}${String(each).padStart(number.length, "0")}-of-${count}${after}`);
  });
}

/** A name can claim any number. */
const MOST_PARTS = 10_000;
