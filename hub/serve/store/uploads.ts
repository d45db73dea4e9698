// Parts of large uploads. They are kept until all have arrived, so that neither a client's nor the server's restart
// causes them to be sent again. Each part is a file named by its number and MD5; a complete upload becomes an object.

import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { stageFile } from "../../files/atomic-file.ts";
import type { ExpectedContent, ObjectStore } from "./objects.ts";
import { HubRefusal } from "./refusal.ts";

/** A content that is uploaded in parts. */
export interface Upload extends ExpectedContent {
  /** bytes of every part except the last */
  partSize: number;
}

/** Parts of an abandoned upload are removed after this time, in milliseconds. */
const FORGOTTEN = 7 * 24 * 3600 * 1000;

/** Number of parts of an upload. */
export function partCount({ size, partSize }: Upload): number {
  return Math.ceil(size / partSize);
}

/** The received parts of all unfinished uploads. */
export class UploadStore {
  private readonly folder: string;
  private readonly objects: ObjectStore;

  constructor(folder: string, objects: ObjectStore) {
    this.folder = folder;
    this.objects = objects;
  }

  /** The MD5s of the received parts, by their number from 1. */
  async parts(upload: Upload): Promise<Map<number, string>> {
    const names = await readdir(this.place(upload)).catch(() => []);
    return new Map(
      names.flatMap((name) => {
        const [, number, md5] = /^(\d{5})\.([0-9a-f]{32})$/.exec(name) ?? [];
        return number && md5 ? [[Number(number), md5] as const] : [];
      }),
    );
  }

  /**
   * Stores a part.
   * @returns its MD5
   * @throws {HubRefusal} 400 if its length is wrong
   */
  async receivePart(upload: Upload, number: number, content: AsyncIterable<Uint8Array>): Promise<string> {
    const expected = Math.min(upload.partSize, upload.size - (number - 1) * upload.partSize);
    const place = this.place(upload);
    await mkdir(place, { recursive: true });
    const staged = await stageFile(join(place, `part.${randomBytes(6).toString("hex")}`));
    try {
      const hash = createHash("md5");
      let size = 0;
      for await (const bytes of content) {
        size += bytes.length;
        if (size > expected) throw new HubRefusal(400, `part ${number} is longer than ${expected} bytes`);
        hash.update(bytes);
        await staged.append(bytes);
      }
      if (size !== expected)
        throw new HubRefusal(400, `part ${number} ended after ${size} of ${expected} bytes; send it again`);
      const md5 = hash.digest("hex");
      const earlier = (await this.parts(upload)).get(number);
      await staged.finish();
      await staged.commit();
      await rename(staged.path, this.partPath(upload, number, md5));
      if (earlier !== undefined && earlier !== md5) await rm(this.partPath(upload, number, earlier), { force: true });
      return md5;
    } finally {
      await staged.discard();
    }
  }

  /**
   * Joins the parts of an upload and stores the result as an object.
   * @param md5s MD5s of the parts in order, as the client knows them
   * @throws {HubRefusal} 400 if a part is missing, or the whole does not match the announced hash; in the latter case
   * all parts are removed
   */
  async complete(upload: Upload, md5s: readonly string[]): Promise<void> {
    // The client repeats the request when the answer was lost.
    if (await this.objects.has(upload)) return;
    if (md5s.length !== partCount(upload)) {
      throw new HubRefusal(400, `the upload has ${partCount(upload)} parts, but ${md5s.length} were listed`);
    }
    for (const [i, md5] of md5s.entries()) {
      if (!(await stat(this.partPath(upload, i + 1, md5)).catch(() => undefined))) {
        throw new HubRefusal(400, `part ${i + 1} was not received with this MD5; send it again`);
      }
    }
    try {
      await this.objects.receive(this.joined(upload, md5s), upload);
    } catch (error) {
      // It is unknown which part is wrong.
      if (error instanceof HubRefusal) await this.drop(upload);
      throw error;
    }
    await this.drop(upload);
  }

  /** Removes the parts of abandoned uploads. */
  async sweep(now = Date.now()): Promise<void> {
    for (const name of await readdir(this.folder).catch(() => [])) {
      const stats = await stat(join(this.folder, name)).catch(() => undefined);
      if (stats && now - stats.mtimeMs > FORGOTTEN) await rm(join(this.folder, name), { recursive: true, force: true });
    }
  }

  private async *joined(upload: Upload, md5s: readonly string[]): AsyncGenerator<Uint8Array> {
    for (const [i, md5] of md5s.entries())
      yield* createReadStream(this.partPath(upload, i + 1, md5), { highWaterMark: 2 ** 20 });
  }

  private drop(upload: Upload): Promise<void> {
    return rm(this.place(upload), { recursive: true, force: true });
  }

  private place({ sha256, size, partSize }: Upload): string {
    return join(this.folder, `${sha256}.${size}.${partSize}`);
  }

  private partPath(upload: Upload, number: number, md5: string): string {
    return join(this.place(upload), `${String(number).padStart(5, "0")}.${md5}`);
  }
}
