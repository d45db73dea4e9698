// Tensors in files: a type, a shape and bytes. Tensors in memory are typed arrays in row-major order. They view the
// bytes of the file, which are little-endian, as are all machines that Bun and Deno support. Values are not converted
// here.

import type { ByteRange, Fail } from "../files/byte-source.ts";
import { FileError } from "../files/file-error.ts";

/** Bytes of an element and the typed array for it. F16 and BF16 are kept as bits; convert.ts converts them. */
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

/** Name of a type with a typed array. */
export type Dtype = keyof typeof DTYPES;

/**
 * The format's other types, with the bits of an element. They can be listed and copied, but not converted to numbers.
 */
const OPAQUE_DTYPES = {
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

/** All types of the format. */
export type FileDtype = Dtype | keyof typeof OPAQUE_DTYPES;

/** Names of all types of the format. */
export const FILE_DTYPES = [...Object.keys(DTYPES), ...Object.keys(OPAQUE_DTYPES)] as readonly FileDtype[];

const isDtype = (name: string): name is Dtype => Object.hasOwn(DTYPES, name);

/** Bits of one element. */
export const bitsOf = (dtype: FileDtype): number => (isDtype(dtype) ? 8 * DTYPES[dtype].bytes : OPAQUE_DTYPES[dtype]);

/** A tensor without its values. */
export interface TensorInfo {
  dtype: FileDtype;
  shape: readonly number[];
  /** number of elements × bytes of an element */
  byteLength: number;
}

/** A tensor in memory. Narrowing on `dtype` gives the type of `data`. */
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

/** The part of a tensor that is read in chunks, and the memory for them. */
export interface ChunkOptions {
  /** bytes of the tensor. Default all */
  range?: ByteRange;
  /**
   * memory of `CHUNK_BYTES` bytes for chunks, each of which is valid until the next one. Formats that cannot use it
   * yield chunks in new memory. Default: new memory
   */
  buffer?: Uint8Array<ArrayBuffer>;
}

/** Named tensors that are read on request. */
export interface TensorFile {
  /** in the order of the file */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Reads one tensor. Throws when the name is unknown or the type has no typed array. */
  read(name: string): Promise<StoredTensor>;
  /** Yields the bytes of one tensor, in row-major order, in chunks of a few megabytes. */
  chunks(name: string, options?: ChunkOptions): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** The size of a tensor in bytes. Undefined if it is not a safe integer or not a whole number of bytes. */
export function byteLengthOf(dtype: FileDtype, shape: readonly number[]): number | undefined {
  // A tensor with a dimension of 0 is empty, however large the others are.
  const count = shape.includes(0) ? 0 : shape.reduce((product, side) => product * side, 1);
  const bits = bitsOf(dtype);
  const bytes = bits % 8 === 0 ? count * (bits / 8) : (count * bits) / 8;
  return Number.isSafeInteger(count * Math.min(bits, 8)) && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Explains why byteLengthOf returned undefined, as a clause. */
export function lengthProblem(dtype: FileDtype, shape: readonly number[]): string {
  const text = `[${shape.join(", ")}]`;
  const isCounted = bitsOf(dtype) < 8 && Number.isSafeInteger(shape.reduce((product, side) => product * side, 8));
  return isCounted
    ? `${dtype} ${text} is not a whole number of bytes`
    : `shape ${text} has more bytes than can be counted`;
}

/**
 * Checks that the type has a typed array.
 * @throws the error made by `fail` if it does not
 */
export function expectDtype({ dtype, shape }: TensorInfo, fail: Fail): { dtype: Dtype; shape: readonly number[] } {
  if (isDtype(dtype)) return { dtype, shape };
  const known = Object.keys(DTYPES).join(" ");
  throw fail(`is ${dtype}, whose values cannot be read here; convert it to one of ${known} with Python`);
}

/**
 * Views bytes as a tensor. The bytes must start at the start of their buffer, or at a multiple of the element's size.
 */
export function viewTensor(
  { dtype, shape }: { dtype: Dtype; shape: readonly number[] },
  bytes: Uint8Array<ArrayBuffer>,
): StoredTensor {
  const data = new DTYPES[dtype].array(bytes.buffer, bytes.byteOffset, bytes.byteLength / DTYPES[dtype].bytes);
  return { dtype, shape, data } as StoredTensor;
}

/** A file breaks the format, does not exist, or does not have the requested tensor. */
export class SafetensorsError extends FileError {
  override readonly name = "SafetensorsError";
}
