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

/** The parts of files in several that are not among these. */
function missingParts(names: readonly string[]): string[] {
  const parts = names.flatMap((name) => {
    const [, before, number, count, after] = PART.exec(name) ?? [];
    return before === undefined ? [] : [{ before, number, count, after } as Record<PartField, string>];
  });
  const groups = Map.groupBy(parts, ({ before, count }) => `${before}${count}`);
  return [...groups.values()].flatMap((group) => {
    const [
      {
        before,
        count,
        after,
        number: { length },
      },
    ] = group as [Record<PartField, string>];
    const there = new Set(group.map(({ number }) => Number(number)));
    // Weights are numbered from 1, data from 0.
    const first = there.has(0) || (!there.has(Number(count)) && !/\.(safetensors|bin)$/.test(after)) ? 0 : 1;
    const numbers = Array.from({ length: Math.min(Number(count), MOST_PARTS) }, (_, i) => first + i);
    const gone = numbers.filter((number) => !there.has(number));
    return gone.map((number) => `${before}${String(number).padStart(length, "0")}-of-${count}${after}`);
  });
}

type PartField = "before" | "number" | "count" | "after";

/** A name can claim any number. */
const MOST_PARTS = 10_000;
