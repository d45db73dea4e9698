// Decodes UTF-8 strictly. A decoder that replaces invalid bytes by U+FFFD would not report a file in another encoding,
// and a model would be trained on the replacement characters.

import { type Fail, isLfsPointer, POINTER_PROBLEM } from "../files/byte-source.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Decodes a whole file. A byte-order mark is kept.
 * @throws the error made by `fail` when the file is a Git LFS pointer or is not UTF-8
 */
export function textOfFile(bytes: Uint8Array, fail: Fail): string {
  if (isLfsPointer(bytes)) throw fail(POINTER_PROBLEM);
  return decodeUtf8(bytes, (position, found) => fail(`is not UTF-8 at byte ${position} (${found})`));
}

/**
 * Decodes UTF-8.
 * @param invalid makes the error, from the position of the first invalid byte and the byte itself, e.g. `0xe9`
 * @throws the error made by `invalid`
 */
export function decodeUtf8(bytes: Uint8Array, invalid: (position: number, found: string) => Error): string {
  try {
    return strict.decode(bytes);
  } catch {
    const position = firstInvalid(bytes);
    throw invalid(position, `0x${(bytes[position] ?? 0).toString(16).padStart(2, "0")}`);
  }
}

/** Number of bytes at the end that start a character without completing it: 0 to 3. */
export function unfinishedBytes(bytes: Uint8Array): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count++) {
    const byte = bytes[bytes.length - count] as number;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return lengthOf(byte) > count ? count : 0;
  }
  return 0;
}

/** Position of the first invalid character. Python's decoder reports the same position. */
function firstInvalid(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const length = lengthOf(bytes[at] as number);
    if (length === 0 || !isCharacter(bytes.subarray(at, at + length), length)) return at;
    at += length;
  }
  return at;
}

/** Length, in bytes, of the character that starts with this byte; 0 if none does. */
function lengthOf(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/** The second byte's range is narrower after some first bytes (Unicode Standard, table 3-7). */
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
