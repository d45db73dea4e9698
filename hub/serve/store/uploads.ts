// Parts of large uploads, kept until all are there, so that neither a client's end nor the server's sends them again.
// Each part is a file named by its number and MD5; whole uploads become objects.

import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { stageFile } from "../../files/atomic-file.ts";
import { HubRefusal } from "../reply.ts";
import type { ExpectedContent, ObjectStore } from "./objects.ts";

export interface Upload extends ExpectedContent {
  /** bytes of every part but the last */
  partSize: number;
}

/** Parts that nobody came back for are removed after this time, in milliseconds. */
const FORGOTTEN = 7 * 24 * 3600 * 1000;

export function partCount({ size, partSize }: Upload): number {
  return Math.ceil(size / partSize);
}

export class UploadStore {
  private readonly folder: string;
  private readonly objects: ObjectStore;

  constructor(folder: string, objects: ObjectStore) {
    this.folder = folder;
    this.objects = objects;
  }

  /** MD5 of the parts that are here, by number from 1. */
  async parts(upload: Upload): Promise<Map<number, string>> {
    const names = await readdir(this.place(upload)).catch(() => []);
    return new Map(
      names.flatMap((name) => {
        const [, number, md5] = /^(\d{5})\.([0-9a-f]{32})$/.exec(name) ?? [];
        return number && md5 ? [[Number(number), md5] as const] : [];
      }),
    );
  }

  /** @returns MD5 of the part. @throws {HubRefusal} 400 if it is not as long as it must be */
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
   * Makes an object of the parts.
   * @param md5s of the parts in order, as the client knows them
   * @throws {HubRefusal} 400 if a part is not here or the whole is not what was announced; the parts are then gone
   */
  async complete(upload: Upload, md5s: readonly string[]): Promise<void> {
    // An answer that was lost is asked for again.
    if (await this.objects.has(upload)) return;
    if (md5s.length !== partCount(upload)) {
      throw new HubRefusal(400, `the upload has ${partCount(upload)} parts, ${md5s.length} were named`);
    }
    for (const [i, md5] of md5s.entries()) {
      if (!(await stat(this.partPath(upload, i + 1, md5)).catch(() => undefined))) {
        throw new HubRefusal(400, `part ${i + 1} is not here as it was sent; send it again`);
      }
    }
    try {
      await this.objects.receive(this.joined(upload, md5s), upload);
    } catch (error) {
      // Which part is wrong cannot be known.
      if (error instanceof HubRefusal) await this.drop(upload);
      throw error;
    }
    await this.drop(upload);
  }

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
