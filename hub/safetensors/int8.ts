// Real tensors as 8-bit integers with a scale for each group of 32 values (docs/format.md). The tensor T is I8, and
// T_scales has the scales in bfloat16; a value is the product of its integer and the scale of its group, which float32
// holds exactly. Groups are consecutive values in row-major order; the last one may be shorter.

import type { Fail } from "../files/byte-source.ts";
import { bfloat16ToFloat32, float32ToBfloat16 } from "./convert.ts";
import type { ChunkOptions, StoredTensor, TensorFile, TensorInfo } from "./types.ts";
import type { TensorSource } from "./write.ts";

/** Values of a group. */
export const GROUP = 32;
/** Largest integer. −128 is not used, so that a value and its negative are rounded alike. */
const LARGEST = 127;

/** The name of the scales of a tensor. */
const scalesOf = (tensor: string): string => `${tensor}_scales`;
const groupsIn = (values: number): number => Math.ceil(values / GROUP);
const sizeOf = ({ shape }: { shape: readonly number[] }): number => shape.reduce((size, side) => size * side, 1);

/** Values as integers, with the bits of the scales in bfloat16. */
export interface Int8Values {
  integers: Int8Array<ArrayBuffer>;
  scales: Uint16Array<ArrayBuffer>;
}

/**
 * Rounds whole groups, and at the end of a tensor the rest. The scale is the largest value divided by 127, rounded to
 * nearest. That value becomes 127, so that values which were rounded before keep their integers and scales.
 * @throws RangeError for a value that is not finite
 */
export function toInt8(values: Float32Array): Int8Values {
  const integers = new Int8Array(values.length);
  const scales = new Uint16Array(groupsIn(values.length));
  for (let group = 0; group < scales.length; group++) {
    const end = Math.min(values.length, (group + 1) * GROUP);
    let most = 0;
    for (let i = group * GROUP; i < end; i++) most = Math.max(most, Math.abs(values[i] as number));
    if (!Number.isFinite(most)) throw new RangeError("has a value that is not finite, which int8 cannot store");
    const bits = float32ToBfloat16(Float32Array.of(most / LARGEST));
    scales.set(bits, group);
    const [scale = 0] = bfloat16ToFloat32(bits);
    if (scale === 0) continue;
    for (let i = group * GROUP; i < end; i++) {
      const integer = Math.round((values[i] as number) / scale);
      integers[i] = Math.max(-LARGEST, Math.min(LARGEST, integer));
    }
  }
  return { integers, scales };
}

/**
 * The values of integers, exactly.
 * @param first index of the first integer in its tensor. Default 0
 */
export function fromInt8({ integers, scales }: { integers: Int8Array; scales: Float32Array }, first = 0): Float32Array {
  const values = new Float32Array(integers.length);
  for (let i = 0; i < values.length; i++) {
    values[i] = (integers[i] as number) * (scales[Math.floor((first + i) / GROUP)] as number);
  }
  return values;
}

/**
 * A float32 tensor, rounded, as two tensors to write. Its values are read once for each of them.
 * @param fail makes the error that is thrown for a value that is not finite
 */
export function int8Sources({ name, shape, data }: TensorSource, fail: Fail): [TensorSource, TensorSource] {
  const pieces = () => groupedValues(typeof data === "function" ? data() : [data]);
  const bytes = async function* (part: keyof Int8Values): AsyncGenerator<Uint8Array> {
    for await (const values of pieces()) {
      const { buffer, byteOffset, byteLength } = orFail(() => toInt8(values), fail)[part];
      yield new Uint8Array(buffer, byteOffset, byteLength);
    }
  };
  const scales = [groupsIn(sizeOf({ shape }))];
  return [
    { name, dtype: "I8", shape, data: () => bytes("integers") },
    { name: scalesOf(name), dtype: "BF16", shape: scales, data: () => bytes("scales") },
  ];
}

function orFail<Result>(work: () => Result, fail: Fail): Result {
  try {
    return work();
  } catch (error) {
    throw error instanceof RangeError ? fail(error.message, { cause: error }) : error;
  }
}

/** The values of pieces of whole float32 values, in whole groups but for the last. */
async function* groupedValues(
  pieces: AsyncIterable<ArrayBufferView> | Iterable<ArrayBufferView>,
): AsyncGenerator<Float32Array> {
  let rest = new Float32Array(0);
  for await (const { buffer, byteOffset, byteLength } of pieces) {
    const values = new Float32Array(buffer as ArrayBuffer, byteOffset, byteLength / Float32Array.BYTES_PER_ELEMENT);
    const all = rest.length === 0 ? values : joined(rest, values);
    const whole = all.length - (all.length % GROUP);
    if (whole > 0) yield all.subarray(0, whole);
    rest = all.slice(whole);
  }
  if (rest.length > 0) yield rest;
}

function joined(first: Float32Array, second: Float32Array): Float32Array<ArrayBuffer> {
  const all = new Float32Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

/**
 * The same file with its I8 tensors as float32. Their scales are no longer among the tensors.
 * @param fail makes the error about a tensor
 * @throws the error made by `fail` when an I8 tensor has no scales, or they do not fit
 */
export function withoutInt8<File extends TensorFile>(file: File, fail: (tensor: string) => Fail): File {
  const tensors = new Map<string, TensorInfo>();
  const integers = new Map([...file.tensors].filter(([, { dtype }]) => dtype === "I8"));
  for (const [name, info] of integers) expectScales(file, { name, info }, fail(name));
  const hidden = new Set(Array.from(integers.keys(), scalesOf));
  for (const [name, info] of file.tensors) {
    if (hidden.has(name)) continue;
    const bytes = Float32Array.BYTES_PER_ELEMENT * sizeOf(info);
    tensors.set(name, integers.has(name) ? { ...info, dtype: "F32", byteLength: bytes } : info);
  }
  const scalesFor = async (name: string) =>
    bfloat16ToFloat32((await file.read(scalesOf(name))).data as Uint16Array<ArrayBuffer>);
  const read = async (name: string): Promise<StoredTensor> => {
    if (!integers.has(name)) return file.read(name);
    const { shape, data } = await file.read(name);
    const values = fromInt8({ integers: data as Int8Array, scales: await scalesFor(name) });
    return { dtype: "F32", shape, data: values };
  };
  const chunks = (name: string, options?: ChunkOptions) =>
    integers.has(name) ? decoded(file, { name, options, scales: () => scalesFor(name) }) : file.chunks(name, options);
  return { ...file, tensors, read, chunks };
}

function expectScales(file: TensorFile, { name, info }: { name: string; info: TensorInfo }, fail: Fail): void {
  const scales = file.tensors.get(scalesOf(name));
  const wanted = groupsIn(sizeOf(info));
  if (scales?.dtype === "BF16" && scales.shape.length === 1 && scales.shape[0] === wanted) return;
  const found = scales ? `${scales.dtype} (${scales.shape.join(", ")})` : "missing";
  throw fail(`is I8, so ${scalesOf(name)} must be BF16 (${wanted}), is ${found}`);
}

interface Decoded {
  name: string;
  options: ChunkOptions | undefined;
  scales: () => Promise<Float32Array>;
}

/** The bytes of float32 values. A range is one of these bytes, and begins and ends at values. */
async function* decoded(file: TensorFile, { name, options, scales: read }: Decoded): AsyncGenerator<Uint8Array> {
  const scales = await read();
  const { range } = options ?? {};
  const first = (range?.start ?? 0) / Float32Array.BYTES_PER_ELEMENT;
  const own = range && { start: first, end: range.end / Float32Array.BYTES_PER_ELEMENT };
  let at = first;
  for await (const { buffer, byteOffset, byteLength } of file.chunks(name, own && { range: own })) {
    const values = fromInt8({ integers: new Int8Array(buffer, byteOffset, byteLength), scales }, at);
    at += values.length;
    yield new Uint8Array(values.buffer);
  }
}
