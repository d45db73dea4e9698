// Files of a repository that are read in parts, by range requests, without downloading them. A file that is complete in the
// cache is read there. Data sets larger than the disk are read this way.

import { HubError } from "../access/hub-error.ts";
import { formatRepoName, type HubAccess, type RepoName } from "../access/repository.ts";
import { type RepoFile, readListing } from "../cache/listing.ts";
import { repoPaths } from "../cache/paths.ts";
import { sizeOf } from "../cache/snapshot.ts";
import { type ByteSource, openFile } from "../files/byte-source.ts";
import { quote } from "../files/file-error.ts";
import { type ContextOptions, requestContext } from "../request/context.ts";
import { remoteFile } from "./remote-file.ts";

/** A file of a commit. */
export interface OpenableFile {
  /** separated by slashes */
  path: string;
  /** in bytes */
  size: number;
  /** whether the cache has the whole file */
  isCached(): Promise<boolean>;
  /**
   * Opens the file in the cache or on the Hub; the caller closes it.
   * @throws HubError if it is not in the cache while offline, as do reads that fail
   */
  open(): Promise<ByteSource>;
}

/**
 * All files of a commit of which something was pulled before.
 * @returns undefined if the cache has no listing of the commit, as after a pull by another program
 */
export async function filesOfCommit(
  { repo, commit }: { repo: RepoName; commit: string },
  access: HubAccess,
  options: ContextOptions = {},
): Promise<OpenableFile[] | undefined> {
  const paths = repoPaths(access.cache, repo);
  const context = requestContext(access, repo, options);
  const openable = (file: RepoFile): OpenableFile => {
    const { path, size } = file;
    const pointer = paths.pointer(commit, path);
    const isCached = async () => (await sizeOf(pointer)) === size;
    const open = async (): Promise<ByteSource> => {
      if (await isCached()) {
        return openFile(pointer, (problem, more) => new HubError("corrupt", `${pointer} ${problem}`, more));
      }
      if (!access.offline) return remoteFile(file, commit, context);
      const where = `${formatRepoName(repo)}: ${quote(path)} is not in the cache ${access.cache}`;
      throw new HubError("not-cached", `${where} and --offline or HF_HUB_OFFLINE is set; pull it once without`);
    };
    return { path, size, isCached, open };
  };
  return (await readListing(paths, commit))?.map(openable);
}
