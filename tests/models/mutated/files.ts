// Model folders as plain bytes, for tests that break them: read and written here by the text of the safetensors format and
// of docs/format.md, with nothing of the code that is tested.

export interface RawTensor {
  name: string;
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

/** What a folder holds, to be changed. */
export interface RawFolder {
  config: Record<string, unknown>;
  /** text of config.json, where it is not what `config` says */
  configText?: string;
  model: RawTensor[];
  trainable: RawTensor[] | undefined;
  /** bytes of a file, where they are not what the tensors say */
  raw: Map<string, Uint8Array>;
}

const BYTES: Record<string, number> = {
  F64: 8,
  I64: 8,
  F32: 4,
  I32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U8: 1,
  I8: 1,
  BOOL: 1,
};

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, side) => product * side, 1);

export const bytesNeeded = ({ dtype, shape }: Pick<RawTensor, "dtype" | "shape">): number =>
  sizeOf(shape) * (BYTES[dtype] ?? 0);

export function encodeTensors(tensors: readonly RawTensor[]): Uint8Array {
  let end = 0;
  const entries = tensors.map(({ name, dtype, shape, bytes }) => {
    const start = end;
    end += bytes.length;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [start, end] })}`;
  });
  const header = new TextEncoder().encode(`{"__metadata__":{"format":"pt"},${entries.join(",")}}`);
  const file = new Uint8Array(8 + header.length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  let at = 8 + header.length;
  for (const { bytes } of tensors) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

/** @throws Error for a file that is none */
export function decodeTensors(bytes: Uint8Array): RawTensor[] {
  const file = new Uint8Array(bytes); // a copy, and no Buffer, whose slices are views
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return Object.entries(header).flatMap(([name, { dtype, shape, data_offsets }]) => {
    if (name === "__metadata__") return [];
    const [start, end] = data_offsets;
    const bytes = file.slice(8 + length + start, 8 + length + end);
    if (bytes.length !== bytesNeeded({ dtype, shape })) throw new Error(`${name}: ${bytes.length} bytes`);
    return [{ name, dtype, shape, bytes }];
  });
}

/** The values of a float tensor; F16 and BF16 by their bits. */
export function valuesOf({ dtype, bytes }: RawTensor): Float64Array {
  const { buffer } = bytes.slice();
  if (dtype === "F64") return new Float64Array(buffer);
  if (dtype === "F32") return Float64Array.from(new Float32Array(buffer));
  if (dtype === "BF16") {
    return Float64Array.from(new Float32Array(Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16).buffer));
  }
  if (dtype === "F16") return Float64Array.from(new Uint16Array(buffer), half);
  throw new Error(`is ${dtype}, no float`);
}

function half(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  const value = exponent === 31 ? (fraction ? Number.NaN : Number.POSITIVE_INFINITY) : size;
  return bits & 0x8000 ? -value : value;
}

export function float32Tensor(name: string, shape: number[], values: ArrayLike<number>): RawTensor {
  return { name, dtype: "F32", shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}
