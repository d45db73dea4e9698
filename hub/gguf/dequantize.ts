// Turns the bytes of tensors into float32, with the bits that ggml's gguf-py gives. Every operation is rounded to float32,
// in the order of that implementation. small-blocks.ts has the types with blocks of 32 values, k-quants.ts those with
// blocks of 256. Formats: ggml-org/ggml, src/ggml-common.h and gguf-py/gguf/quants.py.

import { toFloat32 } from "../safetensors/index.ts";
import { dequantizeQ2K, dequantizeQ3K, dequantizeQ4K, dequantizeQ5K, dequantizeQ6K } from "./k-quants.ts";
import {
  type Block,
  dequantizeIq4Nl,
  dequantizeQ40,
  dequantizeQ41,
  dequantizeQ50,
  dequantizeQ51,
  dequantizeQ80,
} from "./small-blocks.ts";
import type { GgmlType } from "./types.ts";

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
