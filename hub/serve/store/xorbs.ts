// Xorbs that were sent, kept for a while so that files can be made of them. Clients remember what they sent to an
// address and do not send it again: xorbs lie in a folder for each day, which has an address of its own, so that no
// client counts on a xorb that is gone.

import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { stageFile } from "../../files/atomic-file.ts";
import { HubRefusal } from "../reply.ts";
import { type XetFile, Xorb } from "./xet-formats.ts";

const DAY = 24 * 3600 * 1000;
/** Days are removed after this time, in milliseconds. */
const FORGOTTEN = 7 * DAY;
/** Longest xorb, in bytes. Clients make them of 64 MiB of content. */
const LONGEST_XORB = 80 * 2 ** 20;
const XORB = /^[0-9a-f]{64}$/;
/** Name of a day: when it was made, in milliseconds since 1970, and something that no other has. */
const DAY_NAME = /^(\d{13})-[0-9a-f]{12}$/;

export class XorbStore {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Name of the folder for what is sent now. */
  async today(now = Date.now()): Promise<string> {
    const latest = (await this.days()).at(-1);
    if (latest && now - madeAt(latest) < DAY) return latest;
    const day = `${now}-${randomBytes(6).toString("hex")}`;
    await mkdir(join(this.folder, day), { recursive: true });
    return day;
  }

  /** @throws {HubRefusal} 413 if it is too long, 404 if there is no such day (any more) */
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

  /** @throws {HubRefusal} 404 if there is no such day (any more) */
  async expectDay(day: string): Promise<void> {
    if (!(await this.days()).includes(day)) throw new HubRefusal(404, "this upload is too old; begin it again");
  }

  /**
   * The content of a file, read from its xorbs.
   * @throws {HubRefusal} 400 if one is not here or is damaged
   */
  async *content(day: string, { terms }: XetFile): AsyncGenerator<Uint8Array> {
    let last: { name: string; xorb: Xorb } | undefined;
    for (const { xorb: name, ...range } of terms) {
      if (last?.name !== name) last = { name, xorb: new Xorb(await this.read(day, name)) };
      yield* last.xorb.chunks(range);
    }
  }

  async sweep(now = Date.now()): Promise<void> {
    for (const day of await this.days()) {
      if (now - madeAt(day) > FORGOTTEN) await rm(join(this.folder, day), { recursive: true, force: true });
    }
  }

  private async read(day: string, xorb: string): Promise<Uint8Array> {
    return readFile(this.path(day, xorb)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      throw new HubRefusal(400, `xorb ${xorb} was not uploaded; begin the upload again`);
    });
  }

  /** Earliest first. */
  private async days(): Promise<string[]> {
    return (await readdir(this.folder).catch(() => [])).filter((name) => DAY_NAME.test(name)).sort();
  }

  private path(day: string, xorb: string): string {
    if (!XORB.test(xorb)) throw new HubRefusal(400, "a xorb is named by 64 hexadecimal digits");
    return join(this.folder, day, xorb);
  }
}

const madeAt = (day: string) => Number(DAY_NAME.exec(day)?.[1]);
