// What a tensor in a file is: a type, a shape, bytes. No arithmetic and no engine; a tensor here is a typed array.
// Arrays view the bytes as they are in the file, little-endian, which is what every machine that runs us is.

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

export interface TensorInfo {
  dtype: Dtype;
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
  /** one tensor; costs its own bytes. Throws when there is none of that name. */
  read(name: string): Promise<StoredTensor>;
  /** the bytes of one tensor, row-major, a few megabytes at a time */
  chunks(name: string): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** @returns undefined where the product is no safe integer */
export function byteLengthOf(dtype: Dtype, shape: readonly number[]): number | undefined {
  // An empty tensor is empty however large its other sides are.
  const count = shape.includes(0) ? 0 : shape.reduce((product, side) => product * side, 1);
  const bytes = count * DTYPES[dtype].bytes;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Views whole bytes as a tensor. They must fill their buffer from its start, as those of a ByteSource do. */
export function viewTensor({ dtype, shape }: TensorInfo, bytes: Uint8Array<ArrayBuffer>): StoredTensor {
  const data = new DTYPES[dtype].array(bytes.buffer, bytes.byteOffset, bytes.byteLength / DTYPES[dtype].bytes);
  return { dtype, shape, data } as StoredTensor;
}
