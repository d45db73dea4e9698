// A Git LFS pointer: some lines of text that stand where a large file would, in a repository that was cloned without Git
// LFS. Every reader names it as such, since each would find something else wrong with it.

const START = new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n");

/** Bytes; the specification of pointers allows less. */
export const LONGEST_POINTER = 1024;

export const POINTER_PROBLEM =
  "is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, or fetch it with `gblr pull`";

/** @param bytes of a whole file */
export function isLfsPointer(bytes: Uint8Array): boolean {
  return bytes.length < LONGEST_POINTER && START.every((byte, i) => bytes[i] === byte);
}
