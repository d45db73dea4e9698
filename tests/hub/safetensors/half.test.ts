// float16 and bfloat16, all 65536 values of each and the float32 values around every tie, against other truths: the
// runtime's own Float16Array, and the definition of rounding written in float64.

import { expect, test } from "bun:test";
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from "../../../hub/safetensors/convert.ts";
import { fromFloat32, toFloat32, toFloat64 } from "../../../hub/safetensors/index.ts";

const ALL = Uint16Array.from({ length: 65_536 }, (_, bits) => bits);
const bitsOf = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);

/** The value of 16 bits by the definition of the format, in float64. */
function value(bits: number, { exponentBits, fractionBits }: { exponentBits: number; fractionBits: number }): number {
  const sign = bits >>> 15 ? -1 : 1;
  const exponent = (bits >>> fractionBits) & (2 ** exponentBits - 1);
  const fraction = bits & (2 ** fractionBits - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - fractionBits);
  return sign * (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias);
}

/** The neighbors of a float32 in both directions. */
function next(value: number, step: 1 | -1): number {
  const bits = Uint32Array.of(bitsOf(Float32Array.of(value))[0] as number);
  bits[0] = (bits[0] as number) + (value > 0 ? step : -step);
  return new Float32Array(bits.buffer)[0] as number;
}

const FORMATS = [
  { name: "float16", exponentBits: 5, fractionBits: 10, widen: float16ToFloat32, round: float32ToFloat16 },
  { name: "bfloat16", exponentBits: 8, fractionBits: 7, widen: bfloat16ToFloat32, round: float32ToBfloat16 },
];

for (const format of FORMATS) {
  const { name, widen, round, fractionBits } = format;
  const largest = (0x7fff >>> fractionBits) << fractionBits; // the bits of infinity

  test(`every ${name} widens to the value that its bits mean`, () => {
    const wide = widen(ALL);
    for (const bits of ALL) if (!Object.is(wide[bits], value(bits, format))) expect({ bits }).toEqual({ bits: -1 });
    expect(wide.length).toBe(65_536);
  });

  test(`every ${name} comes back from float32 bit for bit, and a NaN as a quiet NaN of its sign and payload`, () => {
    const back = round(widen(ALL));
    const quiet = 1 << (fractionBits - 1);
    const expected = ALL.map((bits) => (Number.isNaN(value(bits, format)) ? bits | quiet : bits));
    expect(back).toEqual(expected);
  });

  test(`float32 between two ${name} values rounds to the nearer, a tie to the even one`, () => {
    const inputs: number[] = [];
    const expected: number[] = [];
    for (let bits = 0; bits < largest; bits++) {
      // The last one rounds to infinity as if the format went one value further.
      const low = value(bits, format);
      const high = bits + 1 === largest ? 2 * low - value(bits - 1, format) : value(bits + 1, format);
      const tie = Math.fround((low + high) / 2);
      if (tie !== (low + high) / 2) continue; // half of float32's own smallest subnormal is no float32
      const even = bits % 2 === 0 ? bits : bits + 1;
      for (const [input, to] of [
        [tie, even],
        [next(tie, -1), bits],
        [next(tie, 1), bits + 1],
      ] as const) {
        inputs.push(input, -input);
        expected.push(to, to | 0x8000);
      }
    }
    expect(inputs.length).toBeGreaterThan(6 * 31_000);
    expect(round(Float32Array.from(inputs))).toEqual(Uint16Array.from(expected));
  });

  test(`float32 beyond ${name} becomes infinity or a signed zero, and NaN stays NaN`, () => {
    const tiny = Math.fround(2 ** -149);
    expect([...round(Float32Array.of(Infinity, -Infinity, 3.4028234663852886e38, 0, -0))]).toEqual([
      largest,
      largest | 0x8000,
      largest,
      0,
      0x8000,
    ]);
    expect([...round(Float32Array.of(tiny, -tiny))]).toEqual([0, 0x8000]);
    // Payloads that live only in the bits that are cut off must not turn into an infinity.
    const wide = Uint32Array.of(0x7f800001, 0xff800001, 0x7fffffff, 0xffc00000);
    const widened = widen(round(new Float32Array(wide.buffer)));
    expect([...widened].every(Number.isNaN)).toBe(true);
    expect(Array.from(bitsOf(widened), (bits) => bits >>> 31)).toEqual([0, 1, 0, 1]);
  });
}

test("float16 agrees with the runtime's own Float16Array on floats of every size", () => {
  const values = new Float32Array(200_000);
  const bits = bitsOf(values);
  let state = 1;
  for (let i = 0; i < bits.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    // Half of them anywhere in float32, half where float16 has values.
    bits[i] = i % 2 === 0 ? state : (state & 0x80ffffff) + 0x32000000 + ((i % 35) << 23);
  }
  const finite = values.filter((value) => !Number.isNaN(value));
  const expected = new Uint16Array(new Float16Array(finite).buffer);
  expect(float32ToFloat16(finite)).toEqual(expected);
  expect(float16ToFloat32(expected)).toEqual(new Float32Array(new Float16Array(expected.buffer)));
});

test("conversions take views that begin inside a buffer", () => {
  const values = Float32Array.of(9, 1, -2).subarray(1);
  expect([...float16ToFloat32(float32ToFloat16(values))]).toEqual([1, -2]);
  expect([...bfloat16ToFloat32(float32ToBfloat16(values))]).toEqual([1, -2]);
});

test("a stored tensor gives its numbers, whatever its type", () => {
  const shape = [2];
  for (const dtype of ["F32", "F16", "BF16"] as const) {
    const stored = fromFloat32(Float32Array.of(1.5, -0.25), { dtype, shape });
    expect([stored.dtype as string, ...toFloat32(stored), ...toFloat64(stored)]).toEqual([
      dtype,
      1.5,
      -0.25,
      1.5,
      -0.25,
    ]);
  }
  expect([...toFloat32({ dtype: "I64", shape, data: BigInt64Array.of(-3n, 7n) })]).toEqual([-3, 7]);
  expect([...toFloat64({ dtype: "I64", shape, data: BigInt64Array.of(-3n, 7n) })]).toEqual([-3, 7]);
  expect([...toFloat32({ dtype: "BOOL", shape, data: Uint8Array.of(0, 1) })]).toEqual([0, 1]);
  expect([...toFloat64({ dtype: "F64", shape, data: Float64Array.of(0.1, -1e300) })]).toEqual([0.1, -1e300]);
});
