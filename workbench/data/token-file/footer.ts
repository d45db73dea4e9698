// The end of a file of token ids: what is in it, as JSON, its length, and a mark. At the end, so that ids are written as
// they come, start at byte 0 where a memory map wants them, and a file that was cut off has no mark.
//
//   ids          uint16 or uint32, little-endian
//   footer       JSON
//   length       of the footer in bytes, uint32, little-endian
//   mark         8 bytes

import { z } from "zod";
import { isJsonObject, jsonOrUndefined } from "../../../hub/text/json.ts";

export const FORMAT_VERSION = 1;

const MARK = new TextEncoder().encode("gblrtok1");

/** Bytes after the footer. */
export const TRAILER_BYTES = 4 + MARK.length;

/** A footer is some hundred bytes; more than this is damage. */
const MOST_FOOTER_BYTES = 2 ** 20;

const Count = z.int().min(0);
const Footer = z.object({
  format: z.literal(FORMAT_VERSION),
  /** bytes an id: 2 where the vocabulary allows it */
  width: z.union([z.literal(2), z.literal(4)]),
  length: Count,
  vocabSize: Count,
  rows: Count,
  words: Count,
  bytes: Count,
  /** of the ids' bytes */
  crc32: Count,
  /** what the ids were made from; the name of the file is their hash */
  settings: z.record(z.string(), z.unknown()),
});

export type TokenFileFooter = z.infer<typeof Footer>;

export function footerBytes(footer: TokenFileFooter): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(footer));
  const bytes = new Uint8Array(json.length + TRAILER_BYTES);
  bytes.set(json);
  new DataView(bytes.buffer).setUint32(json.length, json.length, true);
  bytes.set(MARK, json.length + 4);
  return bytes;
}

/** @returns bytes of the footer's JSON, or nothing where the trailer is none */
export function footerLength(trailer: Uint8Array): number | undefined {
  if (trailer.length !== TRAILER_BYTES || MARK.some((byte, i) => trailer[4 + i] !== byte)) return undefined;
  const length = new DataView(trailer.buffer, trailer.byteOffset).getUint32(0, true);
  return length <= MOST_FOOTER_BYTES ? length : undefined;
}

/** @returns nothing where the JSON is damaged; only its version where that is not this one */
export function parseFooter(json: Uint8Array): TokenFileFooter | { otherVersion: unknown } | undefined {
  const value = jsonOrUndefined(new TextDecoder().decode(json));
  if (!isJsonObject(value)) return undefined;
  if (value.format !== FORMAT_VERSION) return { otherVersion: value.format };
  return Footer.safeParse(value).data;
}
