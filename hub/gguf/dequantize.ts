// Turns blocks of quantized values into float32, with the bits that ggml's gguf-py gives. Every operation is rounded to
// float32, in the order of that implementation. This file has the types with blocks of 32 values; k-quants.ts has those
// with blocks of 256. Formats: ggml-org/ggml, src/ggml-common.h and gguf-py/gguf/quants.py.

import { toFloat32 } from "../safetensors/index.ts";
import { dequantizeQ2K, dequantizeQ3K, dequantizeQ4K, dequantizeQ5K, dequantizeQ6K } from "./k-quants.ts";
import type { GgmlType } from "./types.ts";

/** One block: where its bytes and its values begin. */
export interface Block {
  bytes: Uint8Array;
  /** position of the block in `bytes` */
  at: number;
  values: Float32Array;
  /** position of the block's first value in `values` */
  to: number;
}

type DequantizeBlock = (block: Block) => void;

const DEQUANTIZE: ReadonlyMap<string, DequantizeBlock> = new Map([
  ["Q4_0", dequantizeQ40],
  ["Q4_1", dequantizeQ41],
  ["Q5_0", dequantizeQ50],
  ["Q5_1", dequantizeQ51],
  ["Q8_0", dequantizeQ80],
  ["IQ4_NL", dequantizeIq4Nl],
  ["Q2_K", dequantizeQ2K],
  ["Q3_K", dequantizeQ3K],
  ["Q4_K", dequantizeQ4K],
  ["Q5_K", dequantizeQ5K],
  ["Q6_K", dequantizeQ6K],
]);

/** Whether a type stores blocks of quantized values. F32, F16 and BF16 do not. */
export const isQuantized = ({ name }: GgmlType): boolean => DEQUANTIZE.has(name);

/**
 * Dequantizes whole blocks.
 * @param bytes a multiple of the type's block
 * @returns the values; exact for F32, F16 and BF16
 */
export function dequantize(bytes: Uint8Array<ArrayBuffer>, type: GgmlType): Float32Array {
  const count = bytes.length / type.bytes;
  const block = DEQUANTIZE.get(type.name);
  if (!block) return floats(bytes, type);
  const values = new Float32Array(count * type.values);
  const position = { bytes, at: 0, values, to: 0 };
  for (let i = 0; i < count; i++) {
    block(position);
    position.at += type.bytes;
    position.to += type.values;
  }
  return values;
}

function floats(bytes: Uint8Array<ArrayBuffer>, { name, bytes: size }: GgmlType): Float32Array {
  // A view must start at a multiple of the element's size.
  const { buffer, byteOffset } = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const count = bytes.length / size;
  if (name === "F32") return new Float32Array(buffer, byteOffset, count);
  const data = new Uint16Array(buffer, byteOffset, count);
  return toFloat32({ dtype: name === "F16" ? "F16" : "BF16", shape: [count], data });
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

function dequantizeQ40({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at);
  for (let i = 0; i < 32; i++) values[to + i] = scale * (nibble(bytes, at + 2, i) - 8);
}

function dequantizeQ41({ bytes, at, values, to }: Block): void {
  const [scale, least] = [halfAt(bytes, at), halfAt(bytes, at + 2)];
  for (let i = 0; i < 32; i++) values[to + i] = fround(scale * nibble(bytes, at + 4, i)) + least;
}

/** The fifth bit of value i, already shifted to its place. */
const fifthBit = (bytes: Uint8Array, at: number, i: number): number =>
  (((bytes[at + (i >> 3)] as number) >> (i & 7)) & 1) << 4;

function dequantizeQ50({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at);
  for (let i = 0; i < 32; i++) {
    values[to + i] = scale * ((nibble(bytes, at + 6, i) | fifthBit(bytes, at + 2, i)) - 16);
  }
}

function dequantizeQ51({ bytes, at, values, to }: Block): void {
  const [scale, least] = [halfAt(bytes, at), halfAt(bytes, at + 2)];
  for (let i = 0; i < 32; i++) {
    values[to + i] = fround(scale * (nibble(bytes, at + 8, i) | fifthBit(bytes, at + 4, i))) + least;
  }
}

function dequantizeQ80({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at);
  for (let i = 0; i < 32; i++) values[to + i] = scale * (((bytes[at + 2 + i] as number) << 24) >> 24);
}

/** The values that IQ4_NL's indices stand for. */
const LEVELS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

function dequantizeIq4Nl({ bytes, at, values, to }: Block): void {
  const scale = halfAt(bytes, at);
  for (let i = 0; i < 32; i++) values[to + i] = scale * (LEVELS[nibble(bytes, at + 2, i)] as number);
}
