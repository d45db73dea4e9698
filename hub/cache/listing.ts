// The files of a commit with their sizes and hashes, stored in the cache as `trees/<commit>.json` in the format of
// Python's client. A commit never changes, so its listing stays valid. The listing tells a complete snapshot from an
// incomplete one.

import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { mapOf } from "../text/json.ts";
import { isHash, isSafeFileName, type RepoPaths } from "./paths.ts";

/** One file of a commit. */
export interface RepoFile {
  /** separated by slashes */
  path: string;
  /** in bytes */
  size: number;
  /** git's SHA-1 of the file, or of its LFS pointer if the file is large; in hexadecimal */
  gitHash: string;
  /** SHA-256 of the content of a large file (LFS) */
  sha256?: string | undefined;
  /** hash for Xet storage; only kept for Python's client */
  xetHash?: string | undefined;
}

/** The name of the file's blob in the cache: the ETag that the Hub sends. */
export function blobName({ gitHash, sha256 }: RepoFile): string {
  return sha256 ?? gitHash;
}

const FORMAT_VERSION = 1;
const hash = z.string().refine(isHash);
const size = z.int().nonnegative();
const listingSchema = z.object({
  format_version: z.literal(FORMAT_VERSION),
  files: mapOf(
    z.object({
      size,
      blob_id: hash,
      lfs_sha256: hash.nullish(),
      lfs_size: size.nullish(),
      xet_hash: z.string().nullish(),
    }),
    z.string().refine(isSafeFileName),
  ),
});

/** Reads the listing of a commit. Undefined if the cache has none or it is invalid; the caller then asks the Hub. */
export async function readListing(paths: RepoPaths, commit: string): Promise<RepoFile[] | undefined> {
  const text = await readFile(paths.listing(commit), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const { files } = listingSchema.parse(JSON.parse(text));
    return Array.from(files, ([path, file]) => ({
      path,
      size: file.lfs_size ?? file.size,
      gitHash: file.blob_id,
      sha256: file.lfs_sha256 ?? undefined,
      xetHash: file.xet_hash ?? undefined,
    }));
  } catch {
    return undefined;
  }
}

/**
 * Stores the listing of a commit.
 * @throws the file system's error
 */
export async function writeListing(paths: RepoPaths, commit: string, files: readonly RepoFile[]): Promise<void> {
  const byPath = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  const entries = byPath.map(({ path, size, gitHash, sha256, xetHash }) => {
    const large = sha256 === undefined ? {} : { lfs_sha256: sha256, lfs_size: size };
    return [path, { size, blob_id: gitHash, ...large, ...(xetHash !== undefined && { xet_hash: xetHash }) }];
  });
  const path = paths.listing(commit);
  await mkdir(dirname(path), { recursive: true });
  const listing = { format_version: FORMAT_VERSION, files: Object.fromEntries(entries) };
  await writeFileAtomically(path, JSON.stringify(listing, null, 1));
}
