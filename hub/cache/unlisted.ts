// A snapshot that another program has put into the cache, of which no listing is known: what is there is what the commit has,
// as far as can be told. Files that are named and not there are told from it: links to blobs that are gone, and parts of a
// file in several (`model-00002-of-00003.safetensors`).

import { readdir } from "node:fs/promises";
import { relative, sep } from "node:path";
import type { RepoFile } from "./listing.ts";
import { isSafeFileName, type RepoPaths } from "./paths.ts";
import { sizeOf } from "./snapshot.ts";

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
