// Contents by their SHA-256, one file each below `objects/`. A content is stored only after it has arrived completely
// and has been verified. It is never changed.

import { createHash, randomBytes } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
import { copyFile, type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { stageFile } from "../../files/atomic-file.ts";
import { HubRefusal } from "./refusal.ts";

/** A content by its hash and size. */
export interface ExpectedContent {
  sha256: string;
  /** in bytes */
  size: number;
}

/** A content that is open for reading. The caller closes the handle. */
export interface OpenContent {
  handle: FileHandle;
  /** status of the file when its content was verified */
  stats: BigIntStats;
}

/** Unfinished files of a killed process are removed after this time, in milliseconds. */
const LEFT_OVER = 24 * 3600 * 1000;

/** The contents of all repositories. */
export class ObjectStore {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  path(sha256: string): string {
    return join(this.folder, sha256.slice(0, 2), sha256);
  }

  /** Whether a content with this hash and size is stored. */
  async has({ sha256, size }: ExpectedContent): Promise<boolean> {
    return (await stat(this.path(sha256)).catch(() => undefined))?.size === size;
  }

  /** Opens a content. Undefined if it is not stored. The caller closes the handle. */
  async open({ sha256, size }: ExpectedContent): Promise<OpenContent | undefined> {
    const handle = await open(this.path(sha256), "r").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
      throw error;
    });
    const stats = await handle?.stat({ bigint: true });
    if (handle && stats?.size === BigInt(size)) return { handle, stats };
    await handle?.close();
    return undefined;
  }

  /**
   * Stores a content while it arrives.
   * @throws {HubRefusal} 400 if it does not match the hash and size; nothing is stored then
   */
  async receive(content: AsyncIterable<Uint8Array>, expected: ExpectedContent): Promise<void> {
    const path = this.path(expected.sha256);
    await mkdir(join(path, ".."), { recursive: true });
    const staged = await stageFile(path);
    try {
      const hash = createHash("sha256");
      let size = 0;
      for await (const bytes of content) {
        size += bytes.length;
        if (size > expected.size)
          throw new HubRefusal(400, `the upload is longer than the ${expected.size} bytes announced`);
        hash.update(bytes);
        await staged.append(bytes);
      }
      if (size !== expected.size) {
        throw new HubRefusal(400, `the upload ended after ${size} of ${expected.size} bytes; send it again`);
      }
      if (hash.digest("hex") !== expected.sha256) {
        throw new HubRefusal(400, "the upload does not have the SHA-256 that was announced; send it again");
      }
      await staged.finish();
      await staged.commit();
    } finally {
      await staged.discard();
    }
  }

  /** Stores a small content that is in memory. */
  async add(content: Uint8Array): Promise<ExpectedContent> {
    const expected = { sha256: createHash("sha256").update(content).digest("hex"), size: content.length };
    if (!(await this.has(expected))) await this.receive(once(content), expected);
    return expected;
  }

  /**
   * Copies a content to `target`, replacing an existing file. File systems that support it share the blocks of both.
   */
  async copyTo(content: ExpectedContent, target: string): Promise<void> {
    const temporary = join(this.folder, `.copy.${randomBytes(6).toString("hex")}.tmp`);
    try {
      await copyFile(this.path(content.sha256), temporary, constants.COPYFILE_FICLONE);
      const handle = await open(temporary, "r+");
      await handle.sync().finally(() => handle.close());
      await rename(temporary, target);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Removes the unfinished files of killed processes. */
  async sweep(now = Date.now()): Promise<void> {
    for (const name of await readdir(this.folder, { recursive: true }).catch(() => [])) {
      if (!name.endsWith(".tmp")) continue;
      const stats = await stat(join(this.folder, name)).catch(() => undefined);
      if (stats && now - stats.mtimeMs > LEFT_OVER) await rm(join(this.folder, name), { force: true });
    }
  }
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}
