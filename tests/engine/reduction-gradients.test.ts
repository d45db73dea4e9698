// The gradients of sums and means: each entry of x gets the upstream gradient of the result that it went into, divided
// by how many went there for a mean. That is computed here entry by entry.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { forEachEngine } from "./engines.ts";

const SHAPE = [3, 5, 2];

const CASES: { axis?: number | number[]; keepDims: boolean }[] = [
  { keepDims: false },
  { axis: 0, keepDims: false },
  { axis: -1, keepDims: true },
  { axis: [0, 2], keepDims: false },
  { axis: [1, -1], keepDims: true },
  { axis: [0, 1, 2], keepDims: true },
];

/** Which entry of the result the entry `index` of x went into, and how many went there. */
function destinations(axes: readonly number[]): { into: number[]; each: number } {
  const into: number[] = [];
  for (let index = 0; index < tf.util.sizeFromShape(SHAPE); index++) {
    const place = [Math.floor(index / 10), Math.floor(index / 2) % 5, index % 2];
    let flat = 0;
    for (const [axis, size] of SHAPE.entries()) if (!axes.includes(axis)) flat = flat * size + (place[axis] as number);
    into.push(flat);
  }
  return { into, each: axes.reduce((product, axis) => product * (SHAPE[axis] as number), 1) };
}

forEachEngine("gradients of reductions", () => {
  for (const [name, reduce] of Object.entries({ sum: tf.sum, mean: tf.mean })) {
    test.each(CASES)(`${name} spreads the upstream gradient over what it reduced: %j`, async ({ axis, keepDims }) => {
      const { into, each } = destinations(tf.util.parseAxisParam(axis as number[], SHAPE));
      const x = tf.randomUniform(SHAPE, -1, 1, "float32", 7);
      const [y, gradient] = tf.tidy(() => {
        const y = reduce(x, axis, keepDims);
        const upstream = tf.reshape(tf.range(1, y.size + 1, 1, "float32"), y.shape);
        return [y, tf.grad((x) => reduce(x, axis, keepDims))(x, upstream)] as const;
      });
      expect(y.size).toBe(tf.util.sizeFromShape(SHAPE) / each);
      expect(gradient.shape).toEqual(SHAPE);
      const divisor = name === "mean" ? each : 1;
      const expected = into.map((flat) => Math.fround((flat + 1) / divisor));
      for (const [index, value] of (await gradient.data()).entries()) {
        expect(value).toBeCloseTo(expected[index] as number, 6);
      }
      tf.dispose([x, y, gradient]);
    });
  }

  test("the gradient of a sum over nothing is as empty as what was summed", () => {
    const gradient = tf.tidy(() => tf.grad((x) => tf.sum(x))(tf.zeros([0, 4])));
    expect({ shape: gradient.shape, dtype: gradient.dtype }).toEqual({ shape: [0, 4], dtype: "float32" });
    gradient.dispose();
  });

  test("the gradients leave no tensor behind", () => {
    const x = tf.ones([4, 3]);
    const before = tf.memory().numTensors;
    tf.dispose(tf.grad((x) => tf.mean(tf.sum(x, 1)))(x));
    expect(tf.memory().numTensors).toBe(before);
    x.dispose();
  });
});
