// Shards: which chunks of which xorbs make a file (huggingface.co/docs/xet, "Shard format"). Only the files are read;
// what a shard says of xorbs serves to find chunks again, which a local Hub does not offer.

import { HubRefusal } from "../refusal.ts";
import type { ExpectedContent } from "../store/objects.ts";

/** Chunks `first` … `end - 1` of a xorb. */
export interface XetTerm {
  xorb: string;
  first: number;
  end: number;
}

export interface XetFile extends ExpectedContent {
  terms: XetTerm[];
}

/** Of every header and entry. */
const ENTRY = 48;
const HASH = 32;
const MAGIC = Buffer.from(
  "HFRepoMetaData\0\x55\x69\x67\x45\x6a\x7b\x81\x57\x83\xa5\xbd\xd9\x5c\xcd\xd1\x4a\xa9",
  "latin1",
);
const VERSION = 2;
const WITH_VERIFICATION = 0x8000_0000;
const WITH_METADATA = 0x4000_0000;

/** @throws {HubRefusal} 400 if it is no shard, or does not say a file's SHA-256 */
export function shardFiles(shard: Buffer): XetFile[] {
  if (shard.length < ENTRY || !shard.subarray(0, HASH).equals(MAGIC))
    throw noShard("it has not the first bytes of one");
  if (shard.readUInt32LE(HASH) !== VERSION) throw noShard(`its version is not ${VERSION}`);
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
    if (!(flags & WITH_METADATA)) throw noShard("it does not say the SHA-256 of a file");
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
  if (count * ENTRY > length) throw noShard("it has not as many entries as it says");
  return count;
}

/** As Xet writes hashes: four numbers of 64 bits, the lowest byte of each first in the file and last in the text. */
function hashText(entry: Buffer): string {
  return [0, 8, 16, 24].map((at) => entry.readBigUInt64LE(at).toString(16).padStart(16, "0")).join("");
}

const noShard = (why: string) => new HubRefusal(400, `the body is not a shard of Xet: ${why}`);
