// Dequantizes ggml's types with blocks of 32 values, which a float16 of the block scales. Also what the types with larger
// blocks share with them: the place of a block, and the reading of a float16.

import { toFloat32 } from "../safetensors/index.ts";

/** One block: where its bytes and its values begin. */
export interface Block {
  bytes: Uint8Array;
  /** position of the block in `bytes` */
  at: number;
  values: Float32Array;
  /** position of the block's first value in `values` */
  to: number;
}

let halves: Float32Array | undefined;

/** The float16 at a position. A table of all 65 536 is made once. */
export function halfAt(bytes: Uint8Array, at: number): number {
  halves ??= toFloat32({ dtype: "F16", shape: [65_536], data: Uint16Array.from({ length: 65_536 }, (_, i) => i) });
  return halves[(bytes[at] as number) | ((bytes[at + 1] as number) << 8)] as number;
}

const { fround } = Math;

/** 16 bytes: the low halves are the values 0 to 15, the high halves 16 to 31. */
const nibble = (bytes: Uint8Array, at: number, i: number): number =>
  i < 16 ? (bytes[at + i] as number) & 15 : (bytes[at + i - 16] as number) >>> 4;

/** Bytes: scale, 16 of values from -8 to 7. */
export function dequantizeQ40({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at);
  for (let i = 0; i < 32; i++) values[to + i] = scale * (nibble(bytes, at + 2, i) - 8);
}

/** Bytes: scale, least value, 16 of values from 0 to 15. */
export function dequantizeQ41({ bytes, at, values, to }: Block): void {
  const [scale, least] = [halfAt(bytes, at), halfAt(bytes, at + 2)];
  for (let i = 0; i < 32; i++) values[to + i] = fround(scale * nibble(bytes, at + 4, i)) + least;
}

/** The fifth bit of value i, already shifted to its place. */
const fifthBit = (bytes: Uint8Array, at: number, i: number): number =>
  (((bytes[at + (i >> 3)] as number) >> (i & 7)) & 1) << 4;

/** Bytes: scale, 4 of fifth bits, 16 of the other bits of values from -16 to 15. */
export function dequantizeQ50({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at);
  for (let i = 0; i < 32; i++) {
    values[to + i] = scale * ((nibble(bytes, at + 6, i) | fifthBit(bytes, at + 2, i)) - 16);
  }
}

/** Bytes: scale, least value, 4 of fifth bits, 16 of the other bits of values from 0 to 31. */
export function dequantizeQ51({ bytes, at, values, to }: Block): void {
  const [scale, least] = [halfAt(bytes, at), halfAt(bytes, at + 2)];
  for (let i = 0; i < 32; i++) {
    values[to + i] = fround(scale * (nibble(bytes, at + 8, i) | fifthBit(bytes, at + 4, i))) + least;
  }
}

/** Bytes: scale, 32 of values from -128 to 127. */
export function dequantizeQ80({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at);
  for (let i = 0; i < 32; i++) values[to + i] = scale * (((bytes[at + 2 + i] as number) << 24) >> 24);
}

/** The values that IQ4_NL's indices stand for. */
const LEVELS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/** Bytes: scale, 16 of indices of levels. */
export function dequantizeIq4Nl({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at);
  for (let i = 0; i < 32; i++) values[to + i] = scale * (LEVELS[nibble(bytes, at + 2, i)] as number);
}
