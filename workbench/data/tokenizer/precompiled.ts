// The normalization that SentencePiece stores in its models (`precompiled_charsmap`): a trie over bytes, and the texts
// that replace its entries. Applied grapheme by grapheme, as Rust's `spm_precompiled` does.

import { Buffer } from "node:buffer";

/** Texts of at most 5 bytes that are one grapheme are looked up whole; all others character by character. */
const LONGEST_GRAPHEME = 5;

/** Looked-up texts that are remembered. */
const MOST_REMEMBERED = 65536;

const utf8 = new TextEncoder();

/**
 * Reads a character map. Format: the size of the trie in bytes (u32), the trie (u32 units of Darts-clone), and the
 * replacements, each ended by a byte 0.
 * @param base64 the map as tokenizer.json has it
 * @returns the function that normalizes a text
 * @throws Error if the map is damaged
 */
export function openPrecompiled(base64: string): (text: string) => string {
  const bytes = Buffer.from(base64, "base64");
  const size = bytes.length >= 4 ? bytes.readUInt32LE(0) : 0;
  if (size === 0 || size % 4 !== 0 || 4 + size > bytes.length) throw new Error("precompiled_charsmap is damaged");
  const trie = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
  const replacements = bytes.subarray(4 + size);
  const known = new Map<string, string | undefined>();
  const replaced = (part: string): string | undefined => {
    if (known.has(part)) return known.get(part);
    const at = shortestPrefix(trie, utf8.encode(part));
    const end = at === undefined ? -1 : replacements.indexOf(0, at);
    const text = at === undefined ? undefined : replacements.toString("utf8", at, end < 0 ? undefined : end);
    if (known.size < MOST_REMEMBERED) known.set(part, text);
    return text;
  };
  return (text) => {
    let normal = "";
    for (const grapheme of graphemesOf(text)) {
      const whole = Buffer.byteLength(grapheme) <= LONGEST_GRAPHEME ? replaced(grapheme) : undefined;
      if (whole !== undefined) normal += whole;
      else for (const character of grapheme) normal += replaced(character) ?? character;
    }
    return normal;
  };
}

/** Offset of the replacement of the shortest prefix that is an entry. Units are those of Darts-clone. */
function shortestPrefix(trie: Uint32Array, key: Uint8Array): number | undefined {
  let unit = trie[0] as number;
  let at = offsetOf(unit);
  for (const byte of key) {
    if (byte === 0) return undefined;
    at ^= byte;
    const next = trie[at];
    if (next === undefined || (next & 0x800000ff) >>> 0 !== byte) return undefined;
    unit = next;
    at ^= offsetOf(unit);
    if (((unit >>> 8) & 1) === 1) return (trie[at] ?? 0) & 0x7fffffff;
  }
  return undefined;
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 512) >>> 6);
}

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
/** Characters that never join the one before: ASCII, and Latin, Greek, Cyrillic, Japanese, Chinese and Korean letters. */
const APART =
  "\\0-\\u02ff\\u0370-\\u0482\\u048a-\\u0590\\u1e00-\\u1fff\\u3041-\\u3096\\u30a0-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7a3";
/** CR with LF, single characters that are graphemes, and runs that the segmenter divides. */
const RUNS = new RegExp(
  `\\r\\n|[${APART}](?![^${APART}])|[${APART}]?[^${APART}]+(?:[${APART}][^${APART}]+)*(?:(?![\\r\\n])[${APART}])?`,
  "g",
);

function* graphemesOf(text: string): Generator<string> {
  for (const [run] of text.matchAll(RUNS)) {
    if (run.length === 1 || run === "\r\n") yield run;
    else for (const { segment } of segmenter.segment(run)) yield segment;
  }
}
