// Converts stored tensors to float32 and float64, and float32 to the types of half precision. The 16-bit conversions
// work on bits (IEEE 754 binary16; bfloat16 is the upper half of a float32): they round to nearest, ties to even, and
// keep subnormals, signed zeros and infinities; a NaN stays a NaN of the same sign. All functions return copies,
// or write into memory that the caller gives.

import type { StoredTensor } from "./types.ts";

/**
 * Converts to float32. Exact for F32, F16, BF16, I16, I8, U8 and BOOL; rounded for F64, I64 and I32.
 * @param into memory for the result, of at least as many values. Default: new memory
 */
export function toFloat32({ dtype, data }: StoredTensor, into?: Float32Array): Float32Array {
  const found = into ?? new Float32Array(data.length);
  if (dtype === "F16") return float16ToFloat32(data, found);
  if (dtype === "BF16") return bfloat16ToFloat32(data, found);
  if (dtype === "I64") found.set(Float32Array.from(data, Number));
  else found.set(data);
  return found;
}

/** Converts to float64. Exact for all types; for I64 only up to 2^53. */
export function toFloat64({ dtype, data }: StoredTensor): Float64Array {
  if (dtype === "F16") return new Float64Array(float16ToFloat32(data));
  if (dtype === "BF16") return new Float64Array(bfloat16ToFloat32(data));
  if (dtype === "I64") return Float64Array.from(data, Number);
  return new Float64Array(data);
}

/** Converts float32 values to a tensor of type `dtype`, rounding to nearest, ties to even. */
export function fromFloat32(
  values: Float32Array,
  { dtype, shape }: { dtype: "F32" | "F16" | "BF16"; shape: readonly number[] },
): StoredTensor {
  if (dtype === "F16") return { dtype, shape, data: float32ToFloat16(values) };
  if (dtype === "BF16") return { dtype, shape, data: float32ToBfloat16(values) };
  return { dtype, shape, data: values };
}

/** Converts bits of bfloat16 to float32. Exact, since a bfloat16 is the upper half of a float32. */
export function bfloat16ToFloat32(
  bits: Uint16Array,
  found: Float32Array = new Float32Array(bits.length),
): Float32Array {
  const wide = new Uint32Array(found.buffer, found.byteOffset, bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = (bits[i] as number) << 16;
  return found;
}

/**
 * Rounds to nearest, ties to even.
 * @returns the bits of each value
 */
export function float32ToBfloat16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const wide = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = roundToBfloat16(wide[i] as number);
  return bits;
}

/**
 * Converts bits of float16 to float32. Exact, since every float16 (1 sign bit, 5 exponent bits with bias 15, 10
 * fraction bits) is a float32.
 */
export function float16ToFloat32(bits: Uint16Array, found: Float32Array = new Float32Array(bits.length)): Float32Array {
  const wide = new Uint32Array(found.buffer, found.byteOffset, bits.length);
  for (let i = 0; i < bits.length; i++) wide[i] = widenFloat16(bits[i] as number);
  return found;
}

/**
 * Rounds to nearest, ties to even.
 * @returns the bits of each value
 */
export function float32ToFloat16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const wide = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) bits[i] = roundToFloat16(wide[i] as number);
  return bits;
}

const INFINITY_32 = 0x7f800000;

function roundToBfloat16(wide: number): number {
  // Rounding could turn a NaN into an infinity. Its upper bits are kept instead, and it is made quiet.
  if ((wide & 0x7fffffff) > INFINITY_32) return (wide >>> 16) | 0x40;
  // Adds half a unit minus one, plus the last bit of the result: a tie is rounded up only if that makes it even.
  return (wide + 0x7fff + ((wide >>> 16) & 1)) >>> 16;
}

function widenFloat16(bits: number): number {
  const sign = (bits & 0x8000) << 16;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return sign | INFINITY_32 | (fraction << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // A subnormal float16 is a normal float32: shift the leading bit out of the fraction.
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}

function roundToFloat16(wide: number): number {
  const sign = (wide >>> 16) & 0x8000;
  const size = wide & 0x7fffffff;
  if (size > INFINITY_32) return sign | 0x7e00 | ((size >>> 13) & 0x3ff);
  // 65520 is halfway between the largest float16 and the next power of two: round to infinity.
  if (size >= 0x477ff000) return sign | 0x7c00;
  if (size >= 0x38800000) {
    const rebased = size - (112 << 23);
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
  }
  if (size <= 0x33000000) return sign; // at most 2^-25, half of the smallest subnormal: round to zero
  const shift = 126 - (size >>> 23); // 14 for 2^-15, 24 below 2^-24
  const fraction = (size & 0x7fffff) | 0x800000;
  return sign | ((fraction + (1 << (shift - 1)) - 1 + ((fraction >>> shift) & 1)) >>> shift);
}
