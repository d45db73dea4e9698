// Bytes of a file as text: UTF-8, checked. A decoder that puts U+FFFD where bytes are wrong would hide that a file is of
// another encoding, and a model would learn it.

import { type Fail, isLfsPointer, POINTER_PROBLEM } from "../files/byte-source.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The text of a whole file, its byte-order mark too where it has one.
 * @throws what `fail` makes when the file is a Git LFS pointer, or not UTF-8
 */
export function textOfFile(bytes: Uint8Array, fail: Fail): string {
  if (isLfsPointer(bytes)) throw fail(POINTER_PROBLEM);
  return decodeUtf8(bytes, (position, found) => fail(`is not UTF-8 at byte ${position} (${found})`));
}

/**
 * @param invalid makes the error, from the position of the first wrong byte and the byte itself, e.g. `0xe9`
 * @throws what `invalid` makes
 */
export function decodeUtf8(bytes: Uint8Array, invalid: (position: number, found: string) => Error): string {
  try {
    return strict.decode(bytes);
  } catch {
    const position = firstInvalid(bytes);
    throw invalid(position, `0x${(bytes[position] ?? 0).toString(16).padStart(2, "0")}`);
  }
}

/** Bytes at the end that begin a character and do not end it: 0 to 3. */
export function unfinishedBytes(bytes: Uint8Array): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count++) {
    const byte = bytes[bytes.length - count] as number;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return lengthOf(byte) > count ? count : 0;
  }
  return 0;
}

/** Where the first character begins that is none, as Python names it. */
function firstInvalid(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const length = lengthOf(bytes[at] as number);
    if (length === 0 || !isCharacter(bytes.subarray(at, at + length), length)) return at;
    at += length;
  }
  return at;
}

/** Bytes of the character that a byte begins; 0 where it begins none. */
function lengthOf(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/** Table 3-7 of the Unicode Standard: the second byte has narrower bounds after some first bytes. */
const SECOND: ReadonlyMap<number, readonly [least: number, most: number]> = new Map([
  [0xe0, [0xa0, 0xbf]],
  [0xed, [0x80, 0x9f]],
  [0xf0, [0x90, 0xbf]],
  [0xf4, [0x80, 0x8f]],
]);

function isCharacter(bytes: Uint8Array, length: number): boolean {
  if (bytes.length < length) return false;
  return bytes.subarray(1).every((byte, i) => {
    const [least, most] = (i === 0 && SECOND.get(bytes[0] as number)) || [0x80, 0xbf];
    return byte >= least && byte <= most;
  });
}
