// A grayscale PNG of 16 bits with the levels 0, 200, 300 and 40000, which no library of ours would write as they are.

import { crc32, deflateSync } from "node:zlib";

export const DEEP_LEVELS = [0, 200, 300, 40000] as const;

/** What Pillow's `convert("RGB")` makes of them. */
export const CLIPPED = [0, 200, 255, 255] as const;

function chunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, check]);
}

/** @param levels of the columns of the one row @param transparent a level, if any */
export function deepGray(levels: readonly number[] = DEEP_LEVELS, transparent?: number): Uint8Array<ArrayBuffer> {
  const bytes = (values: readonly number[]) => Buffer.from(values.flatMap((value) => [value >> 8, value & 255]));
  const header = Buffer.alloc(13);
  header.writeUInt32BE(levels.length, 0);
  header.writeUInt32BE(1, 4);
  // 16 bits, grayscale
  header.set([16, 0], 8);
  const row = Buffer.concat([Buffer.alloc(1), bytes(levels)]);
  const parts = [
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    ...(transparent === undefined ? [] : [chunk("tRNS", bytes([transparent]))]),
    chunk("IDAT", deflateSync(row)),
    chunk("IEND", Buffer.alloc(0)),
  ];
  return Uint8Array.from(Buffer.concat(parts));
}
