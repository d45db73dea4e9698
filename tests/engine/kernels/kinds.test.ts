// Values that are not float32 (complex, integer, bool, string), sums over nothing, and einsum, on every engine against values
// known beforehand.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { forEachEngine } from "../engines.ts";
import { expectClose, sample, toTensor } from "../ops/operands.ts";
import { run } from "./run.ts";

forEachEngine("einsum", () => {
  const cases: [equation: string, shapes: number[][], expected: (...x: tf.Tensor[]) => tf.Tensor][] = [
    [
      "ij,jk->ik",
      [
        [3, 4],
        [4, 5],
      ],
      (a, b) => tf.matMul(a as tf.Tensor, b as tf.Tensor),
    ],
    [
      "bij,bkj->bki",
      [
        [2, 3, 4],
        [2, 5, 4],
      ],
      (a, b) => tf.matMul(b as tf.Tensor, a as tf.Tensor, false, true),
    ],
    ["ij->ji", [[3, 4]], (a) => tf.transpose(a as tf.Tensor)],
    ["ij->", [[3, 4]], (a) => tf.sum(a as tf.Tensor)],
    ["ij,j->i", [[3, 4], [4]], (a, b) => tf.sum(tf.mul(a as tf.Tensor, b as tf.Tensor), 1)],
    ["i,j->ij", [[3], [4]], (a, b) => tf.outerProduct(a as tf.Tensor1D, b as tf.Tensor1D)],
    [
      "ijk,lj->l",
      [
        [2, 3, 4],
        [5, 3],
      ],
      (a, b) => tf.sum(tf.mul(tf.sum(a as tf.Tensor, [0, 2]), b as tf.Tensor), 1),
    ],
  ];
  for (const [equation, shapes, expected] of cases) {
    test(equation, async () => {
      const operands = shapes.map((shape, seed) => sample(10 + seed, shape));
      const actual = await run(() => tf.einsum(equation, ...operands.map(toTensor)));
      const truth = await run(() => expected(...operands.map(toTensor)));
      expect(actual.shape).toEqual(truth.shape);
      expectClose(actual.values, Array.from(truth.values));
    });
  }
});

forEachEngine("complex numbers", () => {
  // Without counting buffers: the WebGPU backend keeps the parts of a complex tensor apart from the engine's count.
  const valuesOf = async (compute: () => tf.Tensor) => {
    const before = tf.memory().numTensors;
    const result = tf.tidy(compute);
    const values = Array.from(await result.data());
    result.dispose();
    expect(tf.memory().numTensors).toBe(before);
    return values;
  };
  const pair = () => tf.complex(tf.tensor1d([3, -1]), tf.tensor1d([4, 2]));

  test("are made, taken apart and read", async () => {
    expect(await valuesOf(() => tf.real(pair()))).toEqual([3, -1]);
    expect(await valuesOf(() => tf.imag(pair()))).toEqual([4, 2]);
    expect(await valuesOf(pair)).toEqual([3, 4, -1, 2]);
  });

  test("have absolute values, products and a Fourier transform that goes back", async () => {
    expectClose(await valuesOf(() => tf.abs(pair())), [5, Math.sqrt(5)]);
    expectClose(await valuesOf(() => tf.imag(tf.mul(pair(), pair()))), [24, -4]);
    expectClose(await valuesOf(() => tf.real(tf.spectral.fft(pair()))), [2, 4]);
    expectClose(await valuesOf(() => tf.imag(tf.spectral.ifft(tf.spectral.fft(pair())))), [4, 2]);
  });

  test("pass through reshapes", async () => {
    expect(await valuesOf(() => tf.reshape(pair(), [2, 1]))).toEqual([3, 4, -1, 2]);
  });
});

forEachEngine("values of other kinds", () => {
  test("are not numbers where they are not", async () => {
    const { values } = await run(() => tf.isNaN(tf.tensor1d([1, Number.NaN, Number.POSITIVE_INFINITY, 0])));
    expect(Array.from(values)).toEqual([0, 1, 0, 0]);
  });

  test("become true unless they are zero", async () => {
    const { values, dtype } = await run(() => tf.cast(tf.tensor1d([0, 0.25, -3, 256]), "bool"));
    expect(dtype).toBe("bool");
    expect(Array.from(values)).toEqual([0, 1, 1, 1]);
    expect(Array.from((await run(() => tf.cast(tf.tensor1d([0, 256, -1], "int32"), "bool"))).values)).toEqual([
      0, 1, 1,
    ]);
  });

  test("are combined bit by bit", async () => {
    const [a, b] = [tf.tensor1d([12, -1, 7], "int32"), tf.tensor1d([10, 255, 8], "int32")];
    expect(Array.from((await run(() => tf.bitwiseAnd(a, b))).values)).toEqual([8, 255, 0]);
    tf.dispose([a, b]);
  });

  test("are counted once", async () => {
    const { values, indices } = tf.unique(tf.tensor1d([5, 3, 5, 9, 3], "int32"));
    expect(Array.from(await values.data())).toEqual([5, 3, 9]);
    expect(Array.from(await indices.data())).toEqual([0, 1, 0, 2, 1]);
    tf.dispose([values, indices]);
  });

  test("are split, when they are strings", async () => {
    const { values, ...others } = tf.tidy(() => tf.string.stringSplit(tf.tensor1d(["a b", "c"]), " "));
    expect((await values?.array()) as unknown).toEqual(["a", "b", "c"]);
    tf.dispose([values, others] as unknown as tf.TensorContainer);
    const replaced = tf.tidy(() => tf.string.staticRegexReplace(tf.tensor1d(["aab"]), "a", "x", true));
    expect((await replaced.array()) as unknown).toEqual(["xxb"]);
    replaced.dispose();
  });

  test("are kept apart when a tensor is cloned and its origin disposed", async () => {
    const origin = tf.tensor1d([1, 2]);
    const copy = tf.clone(origin);
    origin.dispose();
    expect(Array.from(await copy.data())).toEqual([1, 2]);
    copy.dispose();
  });
});

forEachEngine("sums over nothing", () => {
  const none = () => tf.zeros([2, 0, 3]);
  const cases: [string, () => tf.Tensor, number][] = [
    ["sum", () => tf.sum(none(), 1), 0],
    ["prod", () => tf.prod(none(), 1), 1],
    ["mean", () => tf.mean(none(), 1), Number.NaN],
    ["any", () => tf.any(tf.cast(none(), "bool"), 1), 0],
    ["all", () => tf.all(tf.cast(none(), "bool"), 1), 1],
  ];
  for (const [name, compute, neutral] of cases) {
    test(`${name} is its neutral value`, async () => {
      const { shape, values } = await run(compute);
      expect(shape).toEqual([2, 3]);
      expect(Array.from(values)).toEqual(Array(6).fill(neutral));
    });
  }
});
