// Matrix products of every form on every engine against float64 loops: transposed, stacked, broadcast, fused, of integers,
// and over nothing.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { forEachEngine } from "../engines.ts";
import { matMul } from "../float64-products.ts";
import { expectClose, sample, toTensor } from "../ops/operands.ts";
import { run } from "./run.ts";

/** Leading axes of both operands, then (rows, inner, columns). */
const PRODUCTS: [stackA: number[], stackB: number[], sizes: [number, number, number]][] = [
  [[], [], [3, 5, 4]],
  [[], [], [1, 33, 17]],
  [[], [], [40, 1, 9]],
  [[], [], [2, 64, 90]],
  [[3], [3], [2, 3, 4]],
  [[4], [4], [17, 19, 23]],
  [
    [2, 3],
    [2, 3],
    [18, 16, 20],
  ],
  [[5], [1], [7, 16, 9]],
  [[1], [5], [7, 16, 9]],
  [
    [2, 1],
    [1, 3],
    [16, 17, 18],
  ],
];

forEachEngine("matrix products", (engine, under) => {
  for (const [stackA, stackB, [rows, inner, columns]] of PRODUCTS) {
    const name = `(${[...stackA, rows, inner]}) x (${[...stackB, inner, columns]})`;
    for (const [transposeA, transposeB] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ] as const) {
      test(`${name}, transposed ${transposeA}, ${transposeB}`, async () => {
        const a = sample(1, [...stackA, ...(transposeA ? [inner, rows] : [rows, inner])]);
        const b = sample(2, [...stackB, ...(transposeB ? [columns, inner] : [inner, columns])]);
        const stack = tf.broadcast_util.assertAndGetBroadcastShape(stackA, stackB);
        const batch = tf.util.sizeFromShape(stack);
        const last = stack.at(-1) ?? 1;
        // Of the shapes above, a stack is whole, or one, or one in its first or last axis.
        const place = (own: number[], matrix: number) =>
          tf.util.sizeFromShape(own) === batch
            ? matrix
            : own.at(-1) === 1
              ? own.length === 1
                ? 0
                : Math.floor(matrix / last)
              : matrix % last;
        const truth = matMul(
          { batch, rows, inner, columns },
          (matrix, row, k) => {
            const start = place(stackA, matrix) * rows * inner;
            return a.values[start + (transposeA ? k * rows + row : row * inner + k)] as number;
          },
          (matrix, k, column) => {
            const start = place(stackB, matrix) * inner * columns;
            return b.values[start + (transposeB ? column * inner + k : k * columns + column)] as number;
          },
        );
        const product = await run(() => tf.matMul(toTensor(a), toTensor(b), transposeA, transposeB));
        expect(product.shape).toEqual([...stack, rows, columns]);
        expectClose(product.values, truth);
      });
    }
  }

  test("over nothing are zeros, of no rows are empty", async () => {
    const zeros = await run(() => tf.matMul(tf.zeros([2, 3, 0]), tf.zeros([2, 0, 4])));
    expect(zeros.shape).toEqual([2, 3, 4]);
    expect([...Array.from(zeros.values)]).toEqual(Array(24).fill(0));
    expect((await run(() => tf.matMul(tf.zeros([0, 3]), tf.zeros([3, 4])))).shape).toEqual([0, 4]);
  });

  test("with a bias and an activation over nothing are the activated bias", async () => {
    const { values } = await run(() =>
      tf.fused.matMul({ a: tf.zeros([2, 0]), b: tf.zeros([0, 3]), bias: tf.tensor1d([-1, 0, 2]), activation: "relu" }),
    );
    expect(Array.from(values)).toEqual([0, 0, 2, 0, 0, 2]);
  });

  for (const activation of ["linear", "relu", "relu6", "elu", "sigmoid", "leakyrelu"] as const) {
    test(`fused with a bias and ${activation} are the same as one after the other`, async () => {
      const [a, b, bias] = [sample(3, [2, 9, 8]), sample(4, [2, 7, 8]), sample(5, [7])];
      const apart: Record<typeof activation, (x: tf.Tensor) => tf.Tensor> = {
        linear: (x) => x,
        relu: (x) => tf.relu(x),
        relu6: (x) => tf.relu6(x),
        elu: (x) => tf.elu(x),
        sigmoid: (x) => tf.sigmoid(x),
        leakyrelu: (x) => tf.leakyRelu(x, 0.1),
      };
      const expected = await run(() =>
        apart[activation](tf.add(tf.matMul(toTensor(a), toTensor(b), false, true), toTensor(bias))),
      );
      const options = { transposeB: true, activation, leakyreluAlpha: 0.1 };
      const fused = await run(() =>
        tf.fused.matMul({ a: toTensor(a), b: toTensor(b), bias: toTensor(bias), ...options }),
      );
      expectClose(fused.values, Array.from(expected.values));
    });
  }

  // The WebGPU backend multiplies integers as float32.
  const large = under.name === "webgpu" ? 4000 : 40000;
  test("of integers are exact", async () => {
    const a = tf.tensor2d(
      [
        [large, 1],
        [-7, large],
      ],
      [2, 2],
      "int32",
    );
    const { values, dtype } = await run(() => tf.matMul(a, a));
    a.dispose();
    expect(dtype).toBe("int32");
    expect(Array.from(values)).toEqual([large * large - 7, 2 * large, -14 * large, large * large - 7]);
  });

  test("of operands that do not fit are refused, and the engine goes on", async () => {
    expect(() => tf.tidy(() => tf.matMul(tf.ones([2, 3]), tf.ones([4, 5])))).toThrow(/inner|shapes|mat1/i);
    expect(tf.getBackend()).toBe(engine().backendName);
    expect((await run(() => tf.matMul(tf.ones([1, 3]), tf.ones([3, 1])))).values[0]).toBe(3);
  });
});
