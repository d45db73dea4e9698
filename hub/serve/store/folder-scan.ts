// The files of a plain folder with their hashes. A file is hashed again only if its size, times or inode have
// changed. Links are followed only to files inside the served folder.

import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { blobHash, compareText, type HubFile, isLarge, pointerOid, SAMPLE_BYTES } from "./commit-object.ts";
import { pathProblem, STORE_FOLDER } from "./names.ts";
import type { OpenContent } from "./objects.ts";

interface Stamp {
  size: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  ino: bigint;
}

interface FoundFile {
  path: string;
  /** path after following links */
  real: string;
  stamp: Stamp;
}

interface Hashed {
  file: HubFile;
  stamp: Stamp;
  /** when hashing began, in milliseconds since 1970 */
  began: number;
}

/** The state of a folder. */
export interface FolderScan {
  files: HubFile[];
  /** latest modification time of a file, in milliseconds since 1970; 0 without files */
  changed: number;
}

const DEEPEST_FOLDER = 64;
/** Bytes of one read. */
const READ_BYTES = 2 ** 20;

/** Scans folders below the served one and remembers the hashes of their files. */
export class FolderScanner {
  /** the served folder, after following links */
  readonly root: string;
  /** results by `hashedKey` */
  private readonly hashed = new Map<string, Hashed>();
  /** hashes that are being computed, by `hashedKey` */
  private readonly hashing = new Map<string, Promise<HubFile | undefined>>();

  constructor(root: string) {
    this.root = root;
  }

  /** Lists the files and hashes those that have changed. */
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

  /** Lists the paths and the latest modification time, without hashing. */
  async list(folder: string): Promise<{ paths: string[]; changed: number }> {
    const found = await this.walk(folder);
    return {
      paths: found.map(({ path }) => path).sort(compareText),
      changed: Math.max(0, ...found.map(({ stamp }) => milliseconds(stamp.mtimeNs))),
    };
  }

  /** One file, hashed if it has changed. Undefined if it does not exist. */
  async file(folder: string, path: string): Promise<HubFile | undefined> {
    const found = await this.find(folder, path).catch(ignoreGone);
    return found && this.hash(found).catch(ignoreGone);
  }

  /** Opens a file if its content is still that of `file`. */
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

  /** Hashes a file unless its hash is known. If the file is already being hashed, waits for that result. */
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
    // A file that changes while it is read is read again, since a copy may be in progress.
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

/** Undefined if the file does not have `size` bytes. */
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
 * Whether a change after hashing would show in the file's times. The clocks of file systems have steps of a few
 * milliseconds, or of one or two seconds, and two changes within one step look the same.
 */
function isSettled({ stamp, began }: Hashed): boolean {
  const tick = stamp.ctimeNs % 1_000_000_000n === 0n ? 2000 : 50;
  const age = began - milliseconds(stamp.ctimeNs);
  // A change time more than 10 s in the future comes from another clock, so the age cannot be used.
  return age > tick || age < -10_000;
}

/**
 * Key of a file in the map of hashes. It contains the path, because a content with two names can be large under only
 * one of them.
 */
function hashedKey({ real, path }: FoundFile): string {
  return `${real}\0${path}`;
}

/** Opens a path whose links were followed; a new link in its place is refused. */
function openFile(real: string): Promise<FileHandle> {
  return open(real, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
}

function sameStamp(a: Stamp, b: Stamp | undefined): boolean {
  return a.size === b?.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.ino === b.ino;
}

function milliseconds(nanoseconds: bigint): number {
  return Number(nanoseconds / 1_000_000n);
}

/** Whether files/atomic-file.ts is still writing the file. */
function isTemporary(name: string): boolean {
  return /^\..+\.[0-9a-f]{12}\.tmp$/.test(name);
}

/** Treats a file that is gone or cannot be read as missing. */
function ignoreGone(error: unknown): undefined {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (["ENOENT", "ENOTDIR", "EACCES", "EPERM", "ELOOP"].includes(code)) return undefined;
  throw error;
}
