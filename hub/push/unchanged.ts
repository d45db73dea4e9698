// Which files the repository has already, byte for byte: by size first, and by hash only where the size is the same.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { RepoFile } from "../cache/listing.ts";
import type { LocalFile } from "./folder-files.ts";

export interface Comparing {
  signal: AbortSignal;
  onHashed: (file: LocalFile, done: number) => void;
}

/** The files that the commit of a listing does not have, or has otherwise. */
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
