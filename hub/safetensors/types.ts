// What a tensor in a file is: a type, a shape, bytes. No arithmetic and no engine; a tensor here is a typed array.
// Arrays view the bytes as they are in the file, little-endian, which is what every machine that runs us is.

import type { Fail } from "../files/byte-source.ts";
import { FileError } from "../files/file-error.ts";

/** Bytes of one element, and the array that holds it. F16 and BF16 are held as their bits: half.ts converts them. */
export const DTYPES = {
  F64: { bytes: 8, array: Float64Array },
  F32: { bytes: 4, array: Float32Array },
  F16: { bytes: 2, array: Uint16Array },
  BF16: { bytes: 2, array: Uint16Array },
  I64: { bytes: 8, array: BigInt64Array },
  I32: { bytes: 4, array: Int32Array },
  I16: { bytes: 2, array: Int16Array },
  I8: { bytes: 1, array: Int8Array },
  U8: { bytes: 1, array: Uint8Array },
  BOOL: { bytes: 1, array: Uint8Array },
} as const;

export type Dtype = keyof typeof DTYPES;

/** Types of the format that are listed and copied, and never converted to numbers here: bits of one element. */
export const OPAQUE_DTYPES = {
  C64: 64,
  U64: 64,
  U32: 32,
  U16: 16,
  F8_E4M3: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2: 8,
  F8_E5M2FNUZ: 8,
  F8_E8M0: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
} as const;

/** Every type that a file can have. */
export type FileDtype = Dtype | keyof typeof OPAQUE_DTYPES;

export const FILE_DTYPES = [...Object.keys(DTYPES), ...Object.keys(OPAQUE_DTYPES)] as readonly FileDtype[];

export const isDtype = (name: string): name is Dtype => Object.hasOwn(DTYPES, name);

/** Bits of one element. */
export const bitsOf = (dtype: FileDtype): number => (isDtype(dtype) ? 8 * DTYPES[dtype].bytes : OPAQUE_DTYPES[dtype]);

export interface TensorInfo {
  dtype: FileDtype;
  shape: readonly number[];
  /** product of the shape × bytes of an element */
  byteLength: number;
}

/** A tensor in memory, row-major. Testing `dtype` tells TypeScript which array `data` is. */
export type StoredTensor = {
  [D in Dtype]: { dtype: D; shape: readonly number[]; data: Arrays[D] };
}[Dtype];

interface Arrays {
  F64: Float64Array;
  F32: Float32Array;
  F16: Uint16Array;
  BF16: Uint16Array;
  I64: BigInt64Array;
  I32: Int32Array;
  I16: Int16Array;
  I8: Int8Array;
  U8: Uint8Array;
  BOOL: Uint8Array;
}

/** Tensors by name, read when asked for. */
export interface TensorFile {
  /** in the file's order */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** one tensor; costs its own bytes. Throws when there is none of that name, or its type has no array here. */
  read(name: string): Promise<StoredTensor>;
  /** the bytes of one tensor, row-major, a few megabytes at a time */
  chunks(name: string): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** @returns undefined where that is no safe integer, or no whole number of bytes */
export function byteLengthOf(dtype: FileDtype, shape: readonly number[]): number | undefined {
  // An empty tensor is empty however large its other sides are.
  const count = shape.includes(0) ? 0 : shape.reduce((product, side) => product * side, 1);
  const bits = bitsOf(dtype);
  const bytes = bits % 8 === 0 ? count * (bits / 8) : (count * bits) / 8;
  return Number.isSafeInteger(count * Math.min(bits, 8)) && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Why byteLengthOf gives no length, as a clause. */
export function lengthProblem(dtype: FileDtype, shape: readonly number[]): string {
  const text = `[${shape.join(", ")}]`;
  const isCounted = bitsOf(dtype) < 8 && Number.isSafeInteger(shape.reduce((product, side) => product * side, 8));
  return isCounted
    ? `${dtype} ${text} is no whole number of bytes`
    : `shape ${text} has more bytes than can be counted`;
}

/** @throws what `fail` makes where the type has no array: its values cannot be computed with */
export function expectDtype({ dtype, shape }: TensorInfo, fail: Fail): { dtype: Dtype; shape: readonly number[] } {
  if (isDtype(dtype)) return { dtype, shape };
  const known = Object.keys(DTYPES).join(" ");
  throw fail(`is ${dtype}, whose values cannot be read here; convert it to one of ${known} with Python`);
}

/** Views whole bytes as a tensor. They must fill their buffer from its start, as those of a ByteSource do. */
export function viewTensor(
  { dtype, shape }: { dtype: Dtype; shape: readonly number[] },
  bytes: Uint8Array<ArrayBuffer>,
): StoredTensor {
  const data = new DTYPES[dtype].array(bytes.buffer, bytes.byteOffset, bytes.byteLength / DTYPES[dtype].bytes);
  return { dtype, shape, data } as StoredTensor;
}

/** A file that breaks the format, is not there, or lacks what was asked of it. */
export class SafetensorsError extends FileError {
  override readonly name = "SafetensorsError";
}
