// Received xorbs (Xet's containers of chunks), kept for some days so that files can be made from them. A client
// remembers what it sent to an address and does not send it again. Therefore the xorbs of each day are stored in a
// folder with its own address, so that no client relies on a xorb that was removed.

import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { stageFile } from "../../files/atomic-file.ts";
import { HubRefusal } from "./refusal.ts";
import { type XetFile, Xorb } from "./xet-formats.ts";

const DAY = 24 * 3600 * 1000;
/** Folders are removed after this time, in milliseconds. */
const FORGOTTEN = 7 * DAY;
/** Longest xorb, in bytes. Clients make them of 64 MiB of content. */
const LONGEST_XORB = 80 * 2 ** 20;
const XORB = /^[0-9a-f]{64}$/;
/** Name of a day's folder: its creation time in milliseconds since 1970, and a random part. */
const DAY_NAME = /^(\d{13})-[0-9a-f]{12}$/;

/** The xorbs that were received in the last days. */
export class XorbStore {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** The folder for xorbs that are sent now. */
  async today(now = Date.now()): Promise<string> {
    const latest = (await this.days()).at(-1);
    if (latest && now - madeAt(latest) < DAY) return latest;
    const day = `${now}-${randomBytes(6).toString("hex")}`;
    await mkdir(join(this.folder, day), { recursive: true });
    return day;
  }

  /**
   * Stores a xorb.
   * @throws {HubRefusal} 413 if it is too long, 404 if the day's folder does not exist (any more)
   */
  async receive(day: string, xorb: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    await this.expectDay(day);
    const staged = await stageFile(this.path(day, xorb));
    try {
      let size = 0;
      for await (const bytes of content) {
        size += bytes.length;
        if (size > LONGEST_XORB) throw new HubRefusal(413, `a xorb is longer than ${LONGEST_XORB} bytes`);
        await staged.append(bytes);
      }
      await staged.finish();
      await staged.commit();
    } finally {
      await staged.discard();
    }
  }

  /** @throws {HubRefusal} 404 if the day's folder does not exist (any more) */
  async expectDay(day: string): Promise<void> {
    if (!(await this.days()).includes(day)) throw new HubRefusal(404, "this upload has expired; start it again");
  }

  /**
   * The content of a file, assembled from its xorbs.
   * @throws {HubRefusal} 400 if a xorb is missing or damaged
   */
  async *content(day: string, { terms }: XetFile): AsyncGenerator<Uint8Array> {
    let last: { name: string; xorb: Xorb } | undefined;
    for (const { xorb: name, ...range } of terms) {
      if (last?.name !== name) last = { name, xorb: new Xorb(await this.read(day, name)) };
      yield* last.xorb.chunks(range);
    }
  }

  /** Removes the folders of earlier days. */
  async sweep(now = Date.now()): Promise<void> {
    for (const day of await this.days()) {
      if (now - madeAt(day) > FORGOTTEN) await rm(join(this.folder, day), { recursive: true, force: true });
    }
  }

  private async read(day: string, xorb: string): Promise<Uint8Array> {
    return readFile(this.path(day, xorb)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      throw new HubRefusal(400, `xorb ${xorb} was not uploaded; start the upload again`);
    });
  }

  /** Sorted from the earliest. */
  private async days(): Promise<string[]> {
    return (await readdir(this.folder).catch(() => [])).filter((name) => DAY_NAME.test(name)).sort();
  }

  private path(day: string, xorb: string): string {
    if (!XORB.test(xorb)) throw new HubRefusal(400, "the name of a xorb must be 64 hexadecimal digits");
    return join(this.folder, day, xorb);
  }
}

const madeAt = (day: string) => Number(DAY_NAME.exec(day)?.[1]);
