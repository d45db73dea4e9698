// LZ4 frames (github.com/lz4/lz4, doc/lz4_Frame_format.md): their headers and blocks. What a block holds is checked by
// nobody here; contents are checked by their SHA-256 once they are whole.

import { decompressLz4Raw } from "hyparquet-compressors";
import { HubRefusal } from "../refusal.ts";

const MAGIC = 0x184d2204;
const STORED = 0x8000_0000;

/**
 * The content of one frame of independent blocks.
 * @param size bytes of the content
 * @throws {HubRefusal} 400 if it is no such frame
 */
export function decodeLz4Frame(frame: Uint8Array, size: number): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 7 || view.getUint32(0, true) !== MAGIC) throw noFrame("it has no magic number");
  const [flags, descriptor] = [view.getUint8(4), view.getUint8(5)];
  const [isIndependent, hasBlockChecksums, hasSize, hasDictionary] = [0x20, 0x10, 0x08, 0x01].map((bit) => flags & bit);
  if (!isIndependent || hasDictionary) throw noFrame("its blocks depend on one another or on a dictionary");
  const longest = 2 ** (8 + 2 * (descriptor >> 4));
  const content = new Uint8Array(size);
  let filled = 0;
  for (let at = 7 + (hasSize ? 8 : 0); at + 4 <= frame.length; ) {
    const header = view.getUint32(at, true);
    if (header === 0) break;
    const length = header & ~STORED;
    const block = frame.subarray(at + 4, at + 4 + length);
    if (block.length < length) throw noFrame("it ends inside a block");
    // All blocks but the last are full.
    const expected = Math.min(longest, size - filled);
    content.set(header & STORED ? block.subarray(0, expected) : decoded(block, expected), filled);
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
