// The files of a plain folder with their hashes, as a commit lists them. A file is hashed when its size or times have
// changed since it was last seen, never again before. Links are followed to files inside the served folder alone.

import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { pathProblem, STORE_FOLDER } from "../names.ts";
import { blobHash, compareText, type HubFile, isLarge, pointerOid, SAMPLE_BYTES } from "./commit-object.ts";
import type { OpenContent } from "./objects.ts";

interface Stamp {
  size: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  ino: bigint;
}

interface FoundFile {
  path: string;
  /** where it is, links followed */
  real: string;
  stamp: Stamp;
}

interface Hashed {
  file: HubFile;
  stamp: Stamp;
  /** milliseconds since 1970 when hashing began */
  began: number;
}

export interface FolderScan {
  files: HubFile[];
  /** latest time of change of a file, in milliseconds since 1970; 0 without files */
  changed: number;
}

const DEEPEST_FOLDER = 64;
/** Bytes read at once. */
const READ_BYTES = 2 ** 20;

export class FolderScanner {
  /** the served folder, links followed */
  readonly root: string;
  private readonly hashed = new Map<string, Hashed>();
  private readonly hashing = new Map<string, Promise<HubFile | undefined>>();

  constructor(root: string) {
    this.root = root;
  }

  /** Hashes what has changed. */
  async scan(folder: string): Promise<FolderScan> {
    const files: HubFile[] = [];
    let changed = 0;
    for (const found of await this.walk(folder)) {
      const file = await this.hash(found).catch(ignoreGone);
      if (!file) continue;
      files.push(file);
      changed = Math.max(changed, milliseconds(found.stamp.mtimeNs));
    }
    return { files: files.sort((a, b) => compareText(a.path, b.path)), changed };
  }

  /** Paths alone, and the time of the latest change. Nothing is hashed. */
  async list(folder: string): Promise<{ paths: string[]; changed: number }> {
    const found = await this.walk(folder);
    return {
      paths: found.map(({ path }) => path).sort(compareText),
      changed: Math.max(0, ...found.map(({ stamp }) => milliseconds(stamp.mtimeNs))),
    };
  }

  /** One file, hashed if it has changed; undefined where there is none. */
  async file(folder: string, path: string): Promise<HubFile | undefined> {
    const found = await this.find(folder, path).catch(ignoreGone);
    return found && this.hash(found).catch(ignoreGone);
  }

  /** Opens a file if its content is what `file` says. */
  async open(folder: string, file: HubFile): Promise<OpenContent | undefined> {
    const found = await this.find(folder, file.path).catch(ignoreGone);
    if (!found || (await this.hash(found).catch(ignoreGone))?.sha256 !== file.sha256) return undefined;
    const handle = await openFile(found.real).catch(ignoreGone);
    const stats = await handle?.stat({ bigint: true });
    if (handle && stats && sameStamp(stats, this.hashed.get(hashedKey(found))?.stamp)) return { handle, stats };
    await handle?.close();
    return undefined;
  }

  private async walk(folder: string, prefix = "", depth = 0): Promise<FoundFile[]> {
    const found: FoundFile[] = [];
    if (depth > DEEPEST_FOLDER) return found;
    for (const entry of await readdir(join(folder, prefix), { withFileTypes: true }).catch(() => [])) {
      const path = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
      if (pathProblem(path) || isTemporary(entry.name)) continue;
      if (entry.isDirectory()) found.push(...(await this.walk(folder, path, depth + 1)));
      else if (entry.isFile() || entry.isSymbolicLink()) {
        const file = await this.find(folder, path).catch(ignoreGone);
        if (file) found.push(file);
      }
    }
    return found;
  }

  private async find(folder: string, path: string): Promise<FoundFile | undefined> {
    const real = await realpath(join(folder, path));
    if (!real.startsWith(this.root + sep) || real.startsWith(join(this.root, STORE_FOLDER) + sep)) return undefined;
    const stats = await stat(real, { bigint: true });
    return stats.isFile() ? { path, real, stamp: stats } : undefined;
  }

  /** Who asks for a file that is being hashed waits for it. */
  private async hash(found: FoundFile): Promise<HubFile | undefined> {
    const key = hashedKey(found);
    const asked = Date.now();
    for (;;) {
      const known = this.hashed.get(key);
      if (known && sameStamp(known.stamp, found.stamp) && (known.began > asked || isSettled(known))) return known.file;
      const other = this.hashing.get(key);
      if (!other) break;
      await other.catch(() => {});
      found.stamp = await stat(found.real, { bigint: true });
    }
    const hashing = this.hashNow(found).finally(() => this.hashing.delete(key));
    this.hashing.set(key, hashing);
    return hashing;
  }

  private async hashNow(found: FoundFile): Promise<HubFile | undefined> {
    const { path, real, stamp } = found;
    // A file that changes under the reader is read again: a copy in progress has an end.
    for (let before = stamp, tries = 0; tries < 3; tries++) {
      const began = Date.now();
      const handle = await openFile(real);
      try {
        const file = await hashFile(handle, { path, size: Number(before.size) });
        const after = await handle.stat({ bigint: true });
        if (file && sameStamp(before, after)) {
          this.hashed.set(hashedKey(found), { file, stamp: after, began });
          found.stamp = after;
          return file;
        }
        before = after;
      } finally {
        await handle.close();
      }
    }
    return undefined;
  }
}

/** Undefined if the file is not `size` bytes long. */
async function hashFile(
  handle: FileHandle,
  { path, size }: { path: string; size: number },
): Promise<HubFile | undefined> {
  const sha256 = createHash("sha256");
  const blob = blobHash(size);
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, size + 1));
  let large = false;
  let done = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, done);
    const bytes = buffer.subarray(0, bytesRead);
    if (done === 0) large = isLarge({ path, size, sample: bytes.subarray(0, SAMPLE_BYTES) });
    if (bytesRead === 0) break;
    sha256.update(bytes);
    if (!large) blob.update(bytes);
    done += bytesRead;
    if (done > size) return undefined;
  }
  if (done !== size) return undefined;
  const digest = sha256.digest("hex");
  const oid = large ? pointerOid({ sha256: digest, size }) : blob.digest("hex");
  return { path, size, sha256: digest, oid, large };
}

/**
 * Whether a change after the hash would show in the times: clocks of file systems tick every few milliseconds, those of
 * some every second or two, and two changes in one tick look like one.
 */
function isSettled({ stamp, began }: Hashed): boolean {
  const tick = stamp.ctimeNs % 1_000_000_000n === 0n ? 2000 : 50;
  const age = began - milliseconds(stamp.ctimeNs);
  // A clock that is far ahead says nothing.
  return age > tick || age < -10_000;
}

/** A content reached by two names can be large by one of them alone. */
function hashedKey({ real, path }: FoundFile): string {
  return `${real}\0${path}`;
}

/** Links were followed already: one that took the file's place since is not. */
function openFile(real: string): Promise<FileHandle> {
  return open(real, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
}

function sameStamp(a: Stamp, b: Stamp | undefined): boolean {
  return a.size === b?.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.ino === b.ino;
}

function milliseconds(nanoseconds: bigint): number {
  return Number(nanoseconds / 1_000_000n);
}

/** A file that hub/files/atomic-file.ts has begun and not finished. */
function isTemporary(name: string): boolean {
  return /^\..+\.[0-9a-f]{12}\.tmp$/.test(name);
}

/** A file that went away, or that may not be read, is not there. */
function ignoreGone(error: unknown): undefined {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (["ENOENT", "ENOTDIR", "EACCES", "EPERM", "ELOOP"].includes(code)) return undefined;
  throw error;
}
