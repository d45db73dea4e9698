// Numbers out of stored tensors, whatever their type, and half precision into them. Works on copies.

import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "./half.ts";
import type { StoredTensor } from "./types.ts";

/** The values as float32: exact from F32, F16, BF16, I16, I8, U8 and BOOL; rounded from F64, I64 and I32. */
export function toFloat32({ dtype, data }: StoredTensor): Float32Array {
  if (dtype === "F16") return float16ToFloat32(data);
  if (dtype === "BF16") return bfloat16ToFloat32(data);
  if (dtype === "I64") return Float32Array.from(data, Number);
  return new Float32Array(data);
}

/** The values as float64: exact from every type but I64, which is exact to 2^53. */
export function toFloat64({ dtype, data }: StoredTensor): Float64Array {
  if (dtype === "F16") return new Float64Array(float16ToFloat32(data));
  if (dtype === "BF16") return new Float64Array(bfloat16ToFloat32(data));
  if (dtype === "I64") return Float64Array.from(data, Number);
  return new Float64Array(data);
}

/** A tensor of float32 values stored in `dtype`, rounded to nearest, ties to even. */
export function fromFloat32(
  values: Float32Array,
  { dtype, shape }: { dtype: "F32" | "F16" | "BF16"; shape: readonly number[] },
): StoredTensor {
  if (dtype === "F16") return { dtype, shape, data: float32ToFloat16(values) };
  if (dtype === "BF16") return { dtype, shape, data: float32ToBfloat16(values) };
  return { dtype, shape, data: values };
}
