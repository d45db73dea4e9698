// Tensors that are held in half precision: filled from every type of file, converted exactly, and multiplied as their
// float32 values are. The conversion's truth is the one of hub/safetensors, which works on bits.

import { beforeAll, describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { fromFloat32, toFloat32 } from "../../../hub/safetensors/index.ts";
import { seededUniform } from "../../../workbench/engine/core/random.ts";
import { openEngine } from "../../../workbench/engine/index.ts";
import {
  allocate,
  embedding,
  fill,
  type HeldType,
  heldInFloat32,
  linear,
} from "../../../workbench/engine/ops/index.ts";
import { ENGINES, forEachEngine } from "../engines.ts";

const FILE = { bfloat16: "BF16", float16: "F16" } as const;
const HALVES = ["bfloat16", "float16"] as const;

const random = (size: number, seed: number) => {
  const uniform = seededUniform(seed);
  return Float32Array.from({ length: size }, () => 2 * uniform() - 1);
};

function filled(values: Float32Array, shape: readonly number[], held: HeldType): tf.Tensor {
  const tensor = allocate(shape, held);
  // Two pieces, the second of them first.
  const middle = values.length >> 1;
  fill(tensor, { at: middle, bytes: new Uint8Array(values.slice(middle).buffer), type: "float32" });
  fill(tensor, { at: 0, bytes: new Uint8Array(values.slice(0, middle).buffer), type: "float32" });
  return tensor;
}

const rounded = (values: Float32Array, held: (typeof HALVES)[number]) =>
  toFloat32(fromFloat32(values, { dtype: FILE[held], shape: [values.length] }));

for (const { label, options } of ENGINES.filter(({ name }) => name === "torch")) {
  describe(`held tensors (${label})`, () => {
    beforeAll(() => openEngine(options));

    for (const held of HALVES) {
      test(`every ${held} is itself after filling, reading and multiplication by 1`, async () => {
        const bits = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
        const tensor = allocate([1, bits.length], held);
        fill(tensor, { at: 0, bytes: new Uint8Array(bits.buffer), type: held });
        // As a list, in which all NaN are equal.
        const expected = [...toFloat32({ dtype: FILE[held], shape: [bits.length], data: bits })];
        expect([...(await tensor.data())]).toEqual(expected);
        const product = linear(tf.ones([1, 1]), tensor, undefined, { layout: "in_out" });
        // -0 + 0 is 0.
        expect([...(await product.data())]).toEqual(expected.map((value) => value + 0));
        const turned = linear(tf.ones([1, 1]), tf.reshape(tensor, [bits.length, 1]));
        expect([...(await turned.data())]).toEqual(expected.map((value) => value + 0));
      });

      for (const layout of ["out_in", "in_out"] as const) {
        // 37 and 83 end in the middle of a vector; 8 rows take the addon's operator, 9 rows a matrix product.
        for (const rows of [1, 3, 8, 9]) {
          test(`linear with ${held} ${layout} weights and ${rows} rows equals float64`, async () => {
            const [nIn, nOut] = [83, 37];
            const [x, weight, bias] = [random(rows * nIn, 1), random(nIn * nOut, 2), random(nOut, 3)];
            const shape = layout === "out_in" ? [nOut, nIn] : [nIn, nOut];
            const held16 = filled(weight, shape, held);
            const y = linear(tf.tensor2d(x, [rows, nIn]), held16, tf.tensor1d(bias), { layout });
            const w = rounded(weight, held);
            const at = (o: number, i: number) => w[layout === "out_in" ? o * nIn + i : i * nOut + o] as number;
            const expected = Array.from({ length: rows * nOut }, (_, k) => {
              const [row, o] = [Math.floor(k / nOut), k % nOut];
              let sum = bias[o] as number;
              for (let i = 0; i < nIn; i++) sum += (x[row * nIn + i] as number) * at(o, i);
              return sum;
            });
            for (const [k, value] of (await y.data()).entries()) expect(value).toBeCloseTo(expected[k] as number, 5);
          });
        }
      }

      test(`float64 and float32 values round to ${held} as they do in files`, async () => {
        const values = random(1000, 4);
        const wide = allocate([1000], held);
        fill(wide, { at: 0, bytes: new Uint8Array(Float64Array.from(values).buffer), type: "float64" });
        expect(await wide.data()).toEqual(rounded(values, held));
        expect(await filled(values, [10, 100], held).data()).toEqual(rounded(values, held));
      });

      test(`any operation takes a ${held} tensor: lookups, slices, products, gradients`, async () => {
        const values = random(60, 5);
        const [half, single] = [filled(values, [6, 10], held), tf.tensor2d(rounded(values, held), [6, 10])];
        const ids = tf.tensor1d([5, 0, 5], "int32");
        const results = (x: tf.Tensor) => [
          embedding(x, ids),
          tf.slice(x, [2, 1], [3, 8]),
          tf.transpose(tf.reshape(x, [10, 6])),
          tf.matMul(x, x, false, true),
          tf.add(tf.sum(x, 0), tf.max(x)),
          tf.concat([x, x]),
          tf.grad((y) => linear(y, x))(tf.ones([2, 10])),
          heldInFloat32(x),
          tf.clone(x),
        ];
        const [found, expected] = [results(half), results(single)];
        for (const [i, tensor] of found.entries()) {
          expect(tensor.shape).toEqual((expected[i] as tf.Tensor).shape);
          expect(await tensor.data()).toEqual(await (expected[i] as tf.Tensor).data());
        }
      });
    }

    test("values beyond the end are refused", () => {
      const tensor = allocate([3], "float32");
      const bytes = new Uint8Array(8);
      expect(() => fill(tensor, { at: 2, bytes, type: "float32" })).toThrow(
        "fill: values 2 to 4 do not lie in a tensor of 3",
      );
      expect(() => fill(tensor, { at: 0, bytes: bytes.subarray(1, 5), type: "float32" })).toThrow("aligned");
    });
  });
}

forEachEngine("held tensors", (_, { name }) => {
  if (name === "torch") return;
  test("are refused with the engine's name", () => {
    expect(() => allocate([2], "bfloat16")).toThrow(`engine "${tf.getBackend()}" holds tensors in float32 only`);
  });
});
