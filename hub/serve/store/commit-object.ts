// Files and commits as the Hub stores them. Contents, the pointers of large files, trees and commits have the same ids
// as in git (git-scm.com/book, "Git Objects"). Also decides which files are large (LFS). The functions do not read or
// write files.

import { createHash, type Hash } from "node:crypto";

/** A file of a commit. */
export interface HubFile {
  /** separated by slashes */
  path: string;
  /** in bytes */
  size: number;
  /** SHA-256 of the content, its name in the object store */
  sha256: string;
  /** git's id of the content, or of the pointer of a large file */
  oid: string;
  /** whether the file is stored by LFS, so that its ETag is the SHA-256 */
  large: boolean;
}

/** A commit with all its files. */
export interface HubCommit {
  id: string;
  /** undefined for the first commit */
  parent?: string | undefined;
  title: string;
  message: string;
  author: string;
  /** ISO 8601 */
  date: string;
  /** sorted by path */
  files: HubFile[];
}

/**
 * Starts the hash that is git's id of a blob; the caller adds the content.
 * @param size bytes of the content
 */
export function blobHash(size: number): Hash {
  return createHash("sha1").update(`blob ${size}\0`);
}

/** The pointer file that git stores in place of a large file. */
export function pointerText({ sha256, size }: Pick<HubFile, "sha256" | "size">): string {
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`;
}

/** Git's id of the pointer of a large file. */
export function pointerOid(file: Pick<HubFile, "sha256" | "size">): string {
  const text = pointerText(file);
  return blobHash(text.length).update(text).digest("hex");
}

interface Tree {
  files: Map<string, string>;
  folders: Map<string, Tree>;
}

/** Git's ids of all folders of a commit, by path. The path of the root is "". */
export function treeIds(files: readonly Pick<HubFile, "path" | "oid">[]): Map<string, string> {
  const root: Tree = { files: new Map(), folders: new Map() };
  for (const { path, oid } of files) {
    const parts = path.split("/");
    const name = parts.pop() as string;
    let tree = root;
    for (const part of parts) {
      const next: Tree = tree.folders.get(part) ?? { files: new Map(), folders: new Map() };
      tree.folders.set(part, next);
      tree = next;
    }
    tree.files.set(name, oid);
  }
  const ids = new Map<string, string>();
  treeId(root, "", ids);
  return ids;
}

function treeId(tree: Tree, path: string, ids: Map<string, string>): string {
  const entries = [...tree.files].map(([name, oid]) => ({ key: Buffer.from(name), mode: "100644", name, oid }));
  for (const [name, folder] of tree.folders) {
    const oid = treeId(folder, path === "" ? name : `${path}/${name}`, ids);
    // Git sorts a folder as if its name ended with a slash.
    entries.push({ key: Buffer.from(`${name}/`), mode: "40000", name, oid });
  }
  entries.sort((a, b) => Buffer.compare(a.key, b.key));
  const body = Buffer.concat(
    entries.flatMap(({ mode, name, oid }) => [Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")]),
  );
  const id = createHash("sha1").update(`tree ${body.length}\0`).update(body).digest("hex");
  ids.set(path, id);
  return id;
}

/**
 * Makes a commit and computes its id.
 * @param seconds time since 1970, part of the id. The displayed `date` defaults to it
 */
export function makeCommit(
  commit: Omit<HubCommit, "id" | "date"> & { seconds: number; date?: string | undefined },
): HubCommit {
  const { parent, title, message, author, seconds, date = new Date(seconds * 1000).toISOString() } = commit;
  const files = [...commit.files].sort((a, b) => compareText(a.path, b.path));
  const person = `${author} <${author}@localhost> ${seconds} +0000`;
  const lines = [
    `tree ${treeIds(files).get("")}`,
    ...(parent ? [`parent ${parent}`] : []),
    `author ${person}`,
    `committer ${person}`,
    "",
    title,
    ...(message ? ["", message] : []),
    "",
  ];
  const body = Buffer.from(lines.join("\n"));
  const id = createHash("sha1").update(`commit ${body.length}\0`).update(body).digest("hex");
  return { id, ...(parent && { parent }), title, message, author, date, files };
}

/** Compares by UTF-16 code units, so that the order does not depend on the locale. All paths are sorted this way. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether two sorted lists have the same paths and contents. */
export function sameFiles(a: readonly HubFile[], b: readonly HubFile[]): boolean {
  return a.length === b.length && a.every(({ path, sha256 }, i) => path === b[i]?.path && sha256 === b[i]?.sha256);
}

/** Files of this size or more, in bytes, are large whatever they contain. */
const LARGE_BYTES = 10 * 2 ** 20;

const LARGE_NAMES =
  /\.(7z|arrow|bin|bz2|ckpt|ftz|gz|h5|joblib|lz4|mlmodel|model|msgpack|npy|npz|onnx|ot|parquet|pb|pickle|pkl|pt|pth|rar|safetensors|tar|tflite|tgz|wasm|xz|zip|zst|png|jpe?g|gif|webp|pdf|mp[34]|wav|flac)$|tfevents/i;

/** Number of bytes at the start of a file that `isLarge` needs. */
export const SAMPLE_BYTES = 512;

/**
 * Whether a file is stored by LFS: by its name (the `.gitattributes` of a new repository on huggingface.co), its size,
 * or a zero byte at its start.
 */
export function isLarge({ path, size, sample }: { path: string; size: number; sample: Uint8Array }): boolean {
  // An empty file has no content to upload.
  if (size === 0) return false;
  return size >= LARGE_BYTES || LARGE_NAMES.test(path) || sample.subarray(0, SAMPLE_BYTES).includes(0);
}
