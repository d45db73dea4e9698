// Dequantization against values that PyPI's gguf gave for the same bytes, kept in tests/fixtures/gguf.

import { expect, test } from "bun:test";
import path from "node:path";
import { dequantize, isQuantized } from "../../../hub/gguf/dequantize.ts";
import { GGML_TYPES, type GgmlType } from "../../../hub/gguf/types.ts";
import { expectSameValues, QUANTIZED } from "./quantized.ts";

const FIXTURE = path.join(import.meta.dirname, "../../fixtures/gguf/quantized.safetensors");

test.each(QUANTIZED.map((name) => [name] as const))(
  "blocks of %s have the values that gguf gives, with scales of every kind",
  async (name) => {
    await expectSameValues(FIXTURE, name);
  },
);

test("float32 is read bit for bit, wherever it begins", () => {
  const values = Float32Array.of(1.5, -0, Number.POSITIVE_INFINITY, 1e-42);
  const bytes = new Uint8Array(17);
  bytes.set(new Uint8Array(values.buffer), 1);
  const read = dequantize(bytes.subarray(1), GGML_TYPES.get(0) as GgmlType);
  expect(new Uint32Array(read.buffer, read.byteOffset, 4)).toEqual(new Uint32Array(values.buffer));
});

test("only types with blocks count as quantized", () => {
  const plain = [...GGML_TYPES.values()].filter((type) => !isQuantized(type)).map(({ name }) => name);
  expect(plain).toEqual(["F32", "F16", "BF16"]);
});
