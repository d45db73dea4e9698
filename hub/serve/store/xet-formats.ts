// The formats of Xet uploads (huggingface.co/docs/xet, "Shard format" and "Xorb format"). A shard states which chunks
// of which xorbs make a file. Its part about xorbs is for deduplication, which a local Hub does not offer, and is
// ignored. A xorb is a sequence of chunks, each with a header of 8 bytes and compressed separately; its optional footer
// repeats the headers. Chunks are compressed as LZ4 frames (github.com/lz4/lz4, doc/lz4_Frame_format.md). Contents are
// verified by the SHA-256 of the whole file.

import { decompressLz4Raw } from "hyparquet-compressors";
import type { ExpectedContent } from "./objects.ts";
import { HubRefusal } from "./refusal.ts";

/** Chunks `first` … `end - 1` of a xorb. */
export interface XetTerm {
  xorb: string;
  first: number;
  end: number;
}

/** A file as the sequence of its chunks. */
export interface XetFile extends ExpectedContent {
  terms: XetTerm[];
}

/** Bytes of every header and entry of a shard. */
const ENTRY = 48;
const HASH = 32;
const SHARD_MAGIC = Buffer.from(
  "HFRepoMetaData\0\x55\x69\x67\x45\x6a\x7b\x81\x57\x83\xa5\xbd\xd9\x5c\xcd\xd1\x4a\xa9",
  "latin1",
);
const SHARD_VERSION = 2;
const WITH_VERIFICATION = 0x8000_0000;
const WITH_METADATA = 0x4000_0000;

/**
 * Reads the files of a shard.
 * @throws {HubRefusal} 400 if it is not a shard, or does not state a file's SHA-256
 */
export function shardFiles(shard: Buffer): XetFile[] {
  if (shard.length < ENTRY || !shard.subarray(0, HASH).equals(SHARD_MAGIC)) throw noShard("it does not start like one");
  if (shard.readUInt32LE(HASH) !== SHARD_VERSION) throw noShard(`its version is not ${SHARD_VERSION}`);
  const files: XetFile[] = [];
  let at = ENTRY;
  const take = () => {
    const entry = shard.subarray(at, at + ENTRY);
    at += ENTRY;
    if (entry.length < ENTRY) throw noShard("it ends too early");
    return entry;
  };
  for (let header = take(); !isLast(header); header = take()) {
    const [flags, count] = [header.readUInt32LE(HASH), header.readUInt32LE(HASH + 4)];
    const entries = Array.from({ length: checkedCount(count, shard.length) }, take);
    if (flags & WITH_VERIFICATION) for (let i = 0; i < count; i++) take();
    if (!(flags & WITH_METADATA)) throw noShard("it does not state the SHA-256 of a file");
    files.push({
      sha256: hashText(take()),
      size: entries.reduce((sum, entry) => sum + entry.readUInt32LE(HASH + 4), 0),
      terms: entries.map((entry) => ({
        xorb: hashText(entry),
        first: entry.readUInt32LE(HASH + 8),
        end: entry.readUInt32LE(HASH + 12),
      })),
    });
  }
  return files;
}

const isLast = (entry: Buffer) => entry.subarray(0, HASH).every((byte) => byte === 0xff);

function checkedCount(count: number, length: number): number {
  if (count * ENTRY > length) throw noShard("it has fewer entries than it states");
  return count;
}

/** A hash as Xet writes it: four 64-bit numbers, little-endian in the file and big-endian in the text. */
function hashText(entry: Buffer): string {
  return [0, 8, 16, 24].map((at) => entry.readBigUInt64LE(at).toString(16).padStart(16, "0")).join("");
}

const noShard = (why: string) => new HubRefusal(400, `the body is not a shard of Xet: ${why}`);

interface Chunk {
  data: Uint8Array;
  scheme: number;
  /** bytes of the content */
  size: number;
}

/** First byte of a chunk's header. A footer starts with a letter instead. */
const CHUNK_VERSION = 0;
const HEADER = 8;

/** Decoders by the number of the compression scheme. */
const DECODERS: readonly ((chunk: Chunk) => Uint8Array)[] = [
  ({ data }) => data,
  ({ data, size }) => decodeLz4Frame(data, size),
  ({ data, size }) => ungrouped(decodeLz4Frame(data, size)),
];

/** A xorb in memory. Its headers are read once, however many terms of a shard refer to it. */
export class Xorb {
  readonly #bytes: Uint8Array;
  /** the known starts of chunks */
  readonly #starts = [0];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /**
   * The contents of the chunks `first` … `end - 1`.
   * @throws {HubRefusal} 400 if the xorb does not have them or they are damaged
   */
  *chunks({ first, end }: { first: number; end: number }): Generator<Uint8Array> {
    for (let index = first; index < end; index++) {
      const { data, scheme, size } = this.#chunk(index);
      const decode = DECODERS[scheme];
      if (!decode) throw damaged(`chunk ${index} is compressed by method ${scheme}, which this Hub does not know`);
      yield decode({ data, scheme, size });
    }
  }

  #chunk(index: number): Chunk {
    while (this.#starts.length <= index) this.#chunkAt(this.#starts.length - 1);
    return this.#chunkAt(index);
  }

  #chunkAt(index: number): Chunk {
    const bytes = this.#bytes;
    const at = this.#starts[index] as number;
    if (at + HEADER > bytes.length || bytes[at] !== CHUNK_VERSION) throw damaged(`it has no chunk ${index}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER);
    const length = view.getUint32(0, true) >>> 8;
    const [scheme, size] = [view.getUint8(4), view.getUint32(4, true) >>> 8];
    const data = bytes.subarray(at + HEADER, at + HEADER + length);
    if (data.length < length) throw damaged(`it ends inside chunk ${index}`);
    this.#starts[index + 1] = at + HEADER + length;
    return { data, scheme, size };
  }
}

/**
 * Reverses the grouping of bytes. The grouped content has bytes 0, 4, 8, … first, then bytes 1, 5, 9, …, and so on,
 * because floats compress better in this order.
 */
function ungrouped(grouped: Uint8Array): Uint8Array {
  const content = new Uint8Array(grouped.length);
  let from = 0;
  for (let first = 0; first < 4; first++) {
    for (let to = first; to < content.length; to += 4) content[to] = grouped[from++] as number;
  }
  return content;
}

const damaged = (why: string) => new HubRefusal(400, `a xorb is damaged: ${why}`);

const LZ4_MAGIC = 0x184d2204;
const LZ4_STORED = 0x8000_0000;

/**
 * Decodes one frame of independent blocks.
 * @param size bytes of the content
 * @throws {HubRefusal} 400 if it is not such a frame
 */
function decodeLz4Frame(frame: Uint8Array, size: number): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 7 || view.getUint32(0, true) !== LZ4_MAGIC) throw noFrame("it has no magic number");
  const [flags, descriptor] = [view.getUint8(4), view.getUint8(5)];
  const [isIndependent, hasBlockChecksums, hasSize, hasDictionary] = [0x20, 0x10, 0x08, 0x01].map((bit) => flags & bit);
  if (!isIndependent || hasDictionary) throw noFrame("its blocks depend on one another or on a dictionary");
  const longest = 2 ** (8 + 2 * (descriptor >> 4));
  const content = new Uint8Array(size);
  let filled = 0;
  for (let at = 7 + (hasSize ? 8 : 0); at + 4 <= frame.length; ) {
    const header = view.getUint32(at, true);
    if (header === 0) break;
    const length = header & ~LZ4_STORED;
    const block = frame.subarray(at + 4, at + 4 + length);
    if (block.length < length) throw noFrame("it ends inside a block");
    // All blocks except the last are full.
    const expected = Math.min(longest, size - filled);
    content.set(header & LZ4_STORED ? block.subarray(0, expected) : decoded(block, expected), filled);
    filled += expected;
    at += 4 + length + (hasBlockChecksums ? 4 : 0);
  }
  if (filled !== size) throw noFrame(`it holds ${filled} bytes of ${size}`);
  return content;
}

function decoded(block: Uint8Array, size: number): Uint8Array {
  try {
    return decompressLz4Raw(block, size);
  } catch {
    throw noFrame("a block is damaged");
  }
}

const noFrame = (why: string) => new HubRefusal(400, `a chunk is not an LZ4 frame: ${why}`);
