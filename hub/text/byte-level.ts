// The byte-level alphabet (Radford et al. 2019): one character for each byte, so that vocabularies of bytes are text.

/** Bytes that stand for themselves in the byte-level alphabet; the other 68 are U+0100 and following (GPT-2's code). */
const PRINTABLE: readonly [first: number, last: number][] = [
  [0x21, 0x7e],
  [0xa1, 0xac],
  [0xae, 0xff],
];

const CHARACTERS: readonly string[] = (() => {
  let next = 0x100;
  const prints = (byte: number) => PRINTABLE.some(([first, last]) => byte >= first && byte <= last);
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++));
})();

const BYTES: ReadonlyMap<string, number> = new Map(CHARACTERS.map((character, byte) => [character, byte]));

const utf8 = new TextEncoder();

/** Character of the byte-level alphabet. @param byte 0 to 255 */
export function byteLevelCharacter(byte: number): string {
  return CHARACTERS[byte] as string;
}

/** Converts a text to the byte-level alphabet, one character per byte of its UTF-8. */
export function toByteLevel(text: string): string {
  let mapped = "";
  for (const byte of utf8.encode(text)) mapped += CHARACTERS[byte];
  return mapped;
}

/** Bytes of a vocabulary entry; undefined if it contains characters outside of the byte-level alphabet. */
export function fromByteLevel(entry: string): Uint8Array | undefined {
  const bytes = new Uint8Array(entry.length);
  for (let i = 0; i < entry.length; i++) {
    const byte = BYTES.get(entry[i] as string);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
