// Dequantizes the k-quants of ggml: blocks of 256 values in groups of 16 or 32, each group with a small integer scale
// (and a minimum), which a float16 of the block scales. `halfAt` reads that float16.

import { type Block, halfAt } from "./small-blocks.ts";

const { fround } = Math;

/** Two bits of value i: 32 bytes hold 128 values, those with the same position in a byte being consecutive. */
const twoBits = (bytes: Uint8Array, at: number, i: number): number =>
  ((bytes[at + ((i >> 7) << 5) + (i & 31)] as number) >> (((i >> 5) & 3) << 1)) & 3;

/** Four bits of value i: 32 bytes hold 64 values. */
const fourBits = (bytes: Uint8Array, at: number, i: number): number =>
  ((bytes[at + ((i >> 6) << 5) + (i & 31)] as number) >> (((i >> 5) & 1) << 2)) & 15;

/** 16 groups of 16 values. Bytes: 16 scales (low half) and minima (high half), 64 of values, scale, scale of minima. */
export function dequantizeQ2K({ bytes, at, values, to }: Block): void {
  const [scale, least] = [halfAt(bytes, at + 80), halfAt(bytes, at + 82)];
  for (let group = 0; group < 16; group++) {
    const packed = bytes[at + group] as number;
    const [step, minimum] = [fround(scale * (packed & 15)), fround(least * (packed >> 4))];
    for (let i = 16 * group; i < 16 * group + 16; i++) {
      values[to + i] = fround(step * twoBits(bytes, at + 16, i)) - minimum;
    }
  }
}

/** 16 groups of 16 values. Bytes: 32 of high bits, 64 of low bits, 12 of scales of 6 bits, scale. */
export function dequantizeQ3K({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at + 108);
  for (let group = 0; group < 16; group++) {
    const low = ((bytes[at + 96 + (group & 7)] as number) >> ((group >> 3) << 2)) & 15;
    const high = ((bytes[at + 104 + (group & 3)] as number) >> ((group >> 2) << 1)) & 3;
    const step = fround(scale * ((low | (high << 4)) - 32));
    for (let i = 16 * group; i < 16 * group + 16; i++) {
      // A clear high bit subtracts 4.
      const isHigh = ((bytes[at + (i & 31)] as number) >> (i >> 5)) & 1;
      values[to + i] = step * (twoBits(bytes, at + 32, i) - (isHigh ? 0 : 4));
    }
  }
}

/** Scale of 6 bits of one of 8 groups, from the 12 bytes of Q4_K and Q5_K. */
function groupScale(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return (bytes[at + group] as number) & 63;
  return ((bytes[at + 4 + group] as number) & 15) | (((bytes[at + group - 4] as number) >> 2) & 48);
}

/** Minimum of 6 bits of one of 8 groups. */
function groupMinimum(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return (bytes[at + 4 + group] as number) & 63;
  return ((bytes[at + 4 + group] as number) >> 4) | (((bytes[at + group] as number) >> 2) & 48);
}

/** 8 groups of 32 values. Bytes: scale, scale of minima, 12 of scales and minima, 128 of values. */
export function dequantizeQ4K({ bytes, at, values, to }: Block): void {
  const [scale, least] = [halfAt(bytes, at), halfAt(bytes, at + 2)];
  for (let group = 0; group < 8; group++) {
    const step = fround(scale * groupScale(bytes, at + 4, group));
    const minimum = fround(least * groupMinimum(bytes, at + 4, group));
    for (let i = 32 * group; i < 32 * group + 32; i++) {
      values[to + i] = fround(step * fourBits(bytes, at + 16, i)) - minimum;
    }
  }
}

/** Like Q4_K, with 32 bytes of fifth bits before the values. */
export function dequantizeQ5K({ bytes, at, values, to }: Block): void {
  const [scale, least] = [halfAt(bytes, at), halfAt(bytes, at + 2)];
  for (let group = 0; group < 8; group++) {
    const step = fround(scale * groupScale(bytes, at + 4, group));
    const minimum = fround(least * groupMinimum(bytes, at + 4, group));
    for (let i = 32 * group; i < 32 * group + 32; i++) {
      const high = ((bytes[at + 16 + (i & 31)] as number) >> group) & 1;
      values[to + i] = fround(step * (fourBits(bytes, at + 48, i) | (high << 4))) - minimum;
    }
  }
}

/** 16 groups of 16 values. Bytes: 128 of low bits, 64 of high bits, 16 scales of 8 bits, scale. */
export function dequantizeQ6K({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at + 208);
  for (let group = 0; group < 16; group++) {
    const step = fround(scale * (((bytes[at + 192 + group] as number) << 24) >> 24));
    for (let i = 16 * group; i < 16 * group + 16; i++) {
      const low = ((bytes[at + ((i >> 7) << 6) + (i & 63)] as number) >> (((i >> 6) & 1) << 2)) & 15;
      values[to + i] = step * ((low | (twoBits(bytes, at + 128, i) << 4)) - 32);
    }
  }
}
