// Writes a file of token ids as they come. It is in its place whole or not at all; what a killed process left beside it
// is removed by the next one.

import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { type StagedFile, stageFile } from "../../../hub/files/atomic-file.ts";
import { DataError, why } from "../errors.ts";
import type { TextCounts } from "../types.ts";
import { FORMAT_VERSION, footerBytes } from "./footer.ts";

export interface TokenFileWriter {
  append(ids: Int32Array): Promise<void>;
  /** puts the file in its place */
  commit(counts: TextCounts & { rows: number }): Promise<void>;
  /** removes what was written, unless it is in its place */
  discard(): Promise<void>;
}

/** A temporary file untouched for so long belongs to no one, in milliseconds. */
const ABANDONED_MS = 3_600_000;

/** @throws DataError, also from what it returns, when the disk is full or the folder cannot be written */
export async function writeTokenFile(
  path: string,
  { vocabSize, settings }: { vocabSize: number; settings: Record<string, unknown> },
): Promise<TokenFileWriter> {
  const staged = await orExplain(path, async () => {
    await mkdir(dirname(path), { recursive: true });
    await removeAbandoned(path);
    return stageFile(path);
  });
  const width = vocabSize <= 65536 ? 2 : 4;
  let length = 0;
  let checksum = 0;
  return {
    append: async (ids) => {
      const bytes = new Uint8Array((width === 2 ? Uint16Array.from(ids) : Uint32Array.from(ids)).buffer);
      checksum = crc32(bytes, checksum);
      length += ids.length;
      await orExplain(path, () => staged.append(bytes));
    },
    commit: ({ rows, words, bytes }) => {
      const footer = {
        format: FORMAT_VERSION,
        width,
        length,
        vocabSize,
        rows,
        words,
        bytes,
        crc32: checksum,
        settings,
      } as const;
      return orExplain(path, () => finish(staged, footerBytes(footer)));
    },
    discard: () => staged.discard(),
  };
}

async function finish(staged: StagedFile, footer: Uint8Array): Promise<void> {
  await staged.append(footer);
  await staged.finish();
  await staged.commit();
}

async function removeAbandoned(path: string): Promise<void> {
  const names = (await readdir(dirname(path))).filter(
    (name) => name.startsWith(`.${basename(path)}.`) && name.endsWith(".tmp"),
  );
  for (const name of names) {
    const file = join(dirname(path), name);
    const status = await stat(file).catch(() => undefined);
    if (status && Date.now() - status.mtimeMs > ABANDONED_MS) await rm(file, { force: true });
  }
}

async function orExplain<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw new DataError(path, `cannot be written: ${why(error)}`, { cause: error });
  }
}
