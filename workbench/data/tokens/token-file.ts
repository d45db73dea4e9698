// Token files: a list of token ids on disk with a footer that describes it. The footer is at the end so that ids can be
// written as they come, begin at byte 0 as memory maps need it, and an incomplete file is recognized by its missing
// mark.
//
//   ids          uint16 or uint32, little-endian
//   footer       JSON
//   length       of the footer in bytes, uint32, little-endian
//   mark         8 bytes

import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { z } from "zod";
import { type StagedFile, stageFile } from "../../../hub/files/atomic-file.ts";
import { type ByteSource, openFile } from "../../../hub/files/byte-source.ts";
import { isJsonObject, jsonOrUndefined, versionProblem } from "../../../hub/text/json.ts";
import { DataError, why } from "../errors.ts";
import type { TextCounts, TokenFile } from "../types.ts";

/** Bytes read at a time to compute the checksum. */
const CHECKED_BYTES = 2 ** 24;

/**
 * Opens a token file and verifies its checksum, because training on damaged ids would waste hours.
 * @param options.map use a memory map if the runtime has one. Default true
 * @throws DataError if there is no such file, or it is damaged
 */
export async function openTokenFile(path: string, { map = true }: { map?: boolean } = {}): Promise<TokenFile> {
  const mapped = map ? mapFile(path) : undefined;
  const source = mapped
    ? viewOf(mapped)
    : await openFile(path, (problem, options) => new DataError(path, problem, options));
  try {
    const footer = await readFooter(source);
    if (!footer)
      throw new DataError(path, "is not a token file, or is damaged; remove it, and it will be created again");
    if ("otherVersion" in footer) {
      throw new DataError(path, `format ${versionProblem(FORMAT_VERSION, footer.otherVersion)}, or remove the file`);
    }
    const counts = { rows: footer.rows, words: footer.words, bytes: footer.bytes };
    const { length, vocabSize } = footer;
    return { path, length, vocabSize, counts, read: reader(source, footer, path), close: () => source.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

function reader(source: ByteSource, { width, length }: TokenFileFooter, path: string): TokenFile["read"] {
  return async (start, count) => {
    if (!(Number.isInteger(start) && Number.isInteger(count) && start >= 0 && count >= 0 && start + count <= length)) {
      throw new RangeError(`${path}: ids ${start} to ${start + count} are outside of its ${length}`);
    }
    const { buffer, byteOffset } = await source.read(start * width, count * width);
    return Int32Array.from(
      width === 2 ? new Uint16Array(buffer, byteOffset, count) : new Uint32Array(buffer, byteOffset, count),
    );
  };
}

/** @returns undefined if any part of the file is damaged */
async function readFooter(source: ByteSource): Promise<ReturnType<typeof parseFooter>> {
  if (source.size < TRAILER_BYTES) return undefined;
  const jsonLength = footerLength(await source.read(source.size - TRAILER_BYTES, TRAILER_BYTES));
  if (jsonLength === undefined || jsonLength + TRAILER_BYTES > source.size) return undefined;
  const end = source.size - TRAILER_BYTES - jsonLength;
  const footer = parseFooter(await source.read(end, jsonLength));
  if (footer && "otherVersion" in footer) return footer;
  if (!footer || footer.length * footer.width !== end) return undefined;
  return (await checksum(source, end)) === footer.crc32 ? footer : undefined;
}

async function checksum(source: ByteSource, end: number): Promise<number> {
  let sum = 0;
  for (let at = 0; at < end; at += CHECKED_BYTES)
    sum = crc32(await source.read(at, Math.min(CHECKED_BYTES, end - at)), sum);
  return sum;
}

/** A memory map as a byte source. Reads return views of the map, which callers must copy. */
function viewOf(bytes: Uint8Array<ArrayBuffer>): ByteSource {
  let held: Uint8Array<ArrayBuffer> | undefined = bytes;
  const read = async (start: number, length: number) => {
    if (!held) throw new RangeError("the token file is closed");
    return held.subarray(start, start + length);
  };
  // The runtime unmaps the file when the last view is garbage-collected.
  const close = async () => {
    held = undefined;
  };
  return { size: bytes.byteLength, read, close };
}

interface MappingRuntime {
  Bun?: { mmap?: (path: string) => Uint8Array<ArrayBuffer> };
}

function mapFile(path: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return (globalThis as MappingRuntime).Bun?.mmap?.(path);
  } catch {
    // A file that cannot be mapped, e.g. on a read-only disk, can still be read by position.
    return undefined;
  }
}

/** Version of the format of token files. */
export const FORMAT_VERSION = 1;

const MARK = new TextEncoder().encode("gblrtok1");

/** Bytes after the footer's JSON. */
const TRAILER_BYTES = 4 + MARK.length;

/** Longest footer, in bytes. Usual footers have some hundred bytes; a larger length means that the file is damaged. */
const MOST_FOOTER_BYTES = 2 ** 20;

const Count = z.int().min(0);
const Footer = z.object({
  format: z.literal(FORMAT_VERSION),
  /** bytes per id: 2 if the vocabulary has at most 65 536 entries, else 4 */
  width: z.union([z.literal(2), z.literal(4)]),
  length: Count,
  vocabSize: Count,
  rows: Count,
  words: Count,
  bytes: Count,
  /** CRC-32 of the ids' bytes */
  crc32: Count,
  /** everything the ids depend on; the name of the file is a hash of it */
  settings: z.record(z.string(), z.unknown()),
});

type TokenFileFooter = z.infer<typeof Footer>;

function footerBytes(footer: TokenFileFooter): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(footer));
  const bytes = new Uint8Array(json.length + TRAILER_BYTES);
  bytes.set(json);
  new DataView(bytes.buffer).setUint32(json.length, json.length, true);
  bytes.set(MARK, json.length + 4);
  return bytes;
}

/** @returns length of the footer's JSON in bytes; undefined if the trailer is invalid */
function footerLength(trailer: Uint8Array): number | undefined {
  if (trailer.length !== TRAILER_BYTES || MARK.some((byte, i) => trailer[4 + i] !== byte)) return undefined;
  const length = new DataView(trailer.buffer, trailer.byteOffset).getUint32(0, true);
  return length <= MOST_FOOTER_BYTES ? length : undefined;
}

/** @returns undefined if the JSON is damaged; only the version if it is another one than this */
function parseFooter(json: Uint8Array): TokenFileFooter | { otherVersion: unknown } | undefined {
  const value = jsonOrUndefined(new TextDecoder().decode(json));
  if (!isJsonObject(value)) return undefined;
  if (value.format !== FORMAT_VERSION) return { otherVersion: value.format };
  return Footer.safeParse(value).data;
}

/** A token file that is being written. */
export interface TokenFileWriter {
  /** path of the temporary file, beside that of the token file */
  readonly temporary: string;
  append(ids: Int32Array): Promise<void>;
  /** completes the file and moves it to its path */
  commit(counts: TextCounts & { rows: number }): Promise<void>;
  /** removes what was written, unless it was committed */
  discard(): Promise<void>;
}

/** Age in milliseconds after which a temporary file is considered left over from a killed process. */
const ABANDONED_MS = 3_600_000;

/**
 * Writes a token file atomically. Removes temporary files that killed processes left beside it.
 * @throws DataError if the disk is full or the folder cannot be written; so do the methods of the writer
 */
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
    temporary: staged.temporary,
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
