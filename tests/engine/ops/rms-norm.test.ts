// rmsNorm against float64: value and gradients for several ranks and widths, scales, a row of zeros, and what is refused.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { rmsNorm } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import * as f64 from "./float64-decoder.ts";
import { expectClose, expectRefusal, type Operand, runOp, sample } from "./operands.ts";

async function check(x: Operand, epsilon?: number): Promise<void> {
  const gain = sample(9, [x.shape.at(-1) as number]);
  const options = epsilon === undefined ? {} : { epsilon };
  const { y, shape, dy, gradients } = await runOp({ x, gain }, ({ x, gain }) =>
    rmsNorm(x as tf.Tensor, gain as tf.Tensor, options),
  );
  const value = (operands: { x: Float64Array; gain: Float64Array }) =>
    f64.rmsNorm({ ...operands, epsilon: epsilon ?? 1e-6 });
  const operands = { x: x.values, gain: gain.values };
  expect(shape).toEqual(x.shape);
  expectClose(y, value(operands));
  const expected = f64.differences(operands, value, dy);
  expectClose(gradients.x as Float32Array, expected.x, { terms: dy });
  expectClose(gradients.gain as Float32Array, expected.gain, { terms: dy });
}

forEachEngine("rmsNorm", () => {
  test("gives value and gradients for 1-D to 4-D inputs", async () => {
    for (const shape of [[8], [3, 7], [2, 3, 16], [2, 1, 3, 5]]) await check(sample(5, shape, 2));
  });

  test("takes rows of one number, rows as wide as a vector unit and one more or less, and no rows", async () => {
    for (const shape of [
      [4, 1],
      [3, 15],
      [3, 16],
      [3, 17],
      [2, 70],
      [0, 4],
    ])
      await check(sample(6, shape));
  });

  test("adds epsilon to the mean square", async () => {
    await check(sample(7, [3, 6]), 0.5);
    await check(sample(8, [3, 6], 0.01), 1e-3);
  });

  test("gives 0 for a row of zeros", async () => {
    const y = rmsNorm(tf.zeros([2, 5]), tf.ones([5]));
    expect(Array.from(await y.data())).toEqual(new Array(10).fill(0));
    y.dispose();
  });

  test("normalizes x that is a view with its axes exchanged", async () => {
    const view = tf.tidy(() => tf.transpose(tf.reshape(tf.range(0, 24, 1, "float32"), [4, 6])));
    const copy = tf.tensor(await view.data(), view.shape);
    const gain = tf.ones([4]);
    const [ofView, ofCopy] = [rmsNorm(view, gain), rmsNorm(copy, gain)];
    expectClose(await ofView.data(), await ofCopy.data(), { tolerance: 1e-6 });
    tf.dispose([view, copy, gain, ofView, ofCopy]);
  });

  test("holds for random sizes", async () => {
    const size = fc.integer({ min: 1, max: 20 });
    await fc.assert(
      fc.asyncProperty(size, size, fc.double({ min: 0.1, max: 100, noNaN: true }), (rows, width, scale) =>
        check(sample(rows * 21 + width, [rows, width], scale)),
      ),
      { seed: 7, numRuns: 10 },
    );
  });

  test("names what does not fit", () => {
    tf.tidy(() => {
      const x = tf.ones([2, 6]);
      expectRefusal(() => rmsNorm(x, tf.ones([5])), "rmsNorm: gain must be float32 (6), got float32 (5)");
      expectRefusal(
        () => rmsNorm(tf.ones([2, 6], "int32"), tf.ones([6])),
        "rmsNorm: x must be float32 (..., width), got int32 (2, 6)",
      );
      expectRefusal(
        () => rmsNorm(tf.scalar(1), tf.ones([1])),
        "rmsNorm: x must be float32 (..., width), got float32 ()",
      );
      expectRefusal(
        () => rmsNorm(x, tf.ones([6]), { epsilon: -1 }),
        "rmsNorm: epsilon must be a number of at least 0, got -1",
      );
    });
  });
});
