// Compares dequantization with a file that quantized.py wrote, bit for bit; any NaN equals any other, because engines
// of JavaScript do not keep their bits.

import { expect } from "bun:test";
import { dequantize } from "../../../hub/gguf/dequantize.ts";
import { GGML_TYPES } from "../../../hub/gguf/types.ts";
import { readSafetensors } from "../../../hub/safetensors/read.ts";

/** Names of all types but F32, which is not converted. */
export const QUANTIZED = [...GGML_TYPES.values()].map(({ name }) => name).filter((name) => name !== "F32");

export async function expectSameValues(path: string, name: string): Promise<void> {
  const type = [...GGML_TYPES.values()].find((each) => each.name === name);
  if (!type) throw new Error(`no type ${name}`);
  const tensors = await readSafetensors(path);
  const compared = ["", ".normal"].filter((part) => tensors.has(`${name}${part}.bytes`));
  expect(compared).toContain("");
  for (const part of compared) {
    const { data } = tensors.get(`${name}${part}.bytes`) as { data: Uint8Array<ArrayBuffer> };
    const expected = tensors.get(`${name}${part}.values`)?.data as Float32Array;
    expect(expected.length).toBe((data.length / type.bytes) * type.values);
    expect(bits(dequantize(data, type))).toEqual(bits(expected));
  }
}

function bits(values: Float32Array): Uint32Array {
  const numbers = values.map((value) => (Number.isNaN(value) ? Number.NaN : value));
  return new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length).map((word) =>
    (word & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : word,
  );
}
