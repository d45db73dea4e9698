// layerNorm against float64: widths, leading dimensions, constant rows, far-off means, and what is refused.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { layerNorm } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import * as f64 from "./float64.ts";
import { expectClose, expectRefusal, type Operand, read, runOp, sample } from "./operands.ts";

async function check(x: Operand, epsilon: number): Promise<void> {
  const width = x.shape.at(-1) as number;
  const [gain, bias] = [sample(2, [width]), sample(3, [width])];
  const { y, shape, dy, gradients } = await runOp({ x, gain, bias }, ({ x, gain, bias }) =>
    layerNorm(x as tf.Tensor, gain as tf.Tensor, bias as tf.Tensor, { epsilon }),
  );
  const options = { x: x.values, gain: gain.values, bias: bias.values, epsilon };
  expect(shape).toEqual(x.shape);
  expectClose(y, f64.layerNorm(options), { terms: gain.values });
  const expected = f64.layerNormGradients(options, dy);
  expectClose(gradients.x as Float32Array, expected.x, { terms: dy });
  expectClose(gradients.gain as Float32Array, expected.gain, { terms: dy });
  expectClose(gradients.bias as Float32Array, expected.bias, { terms: dy });
}

forEachEngine("layerNorm", () => {
  test("gives value and gradients for 1-D to 4-D inputs", async () => {
    for (const shape of [[6], [1, 2], [5, 7], [2, 3, 9], [2, 1, 3, 5]]) {
      await check(sample(1, shape), 1e-5);
    }
  });

  test("takes no rows", async () => {
    await check(sample(1, [0, 5]), 1e-5);
    await check(sample(1, [2, 0, 3]), 1e-5);
  });

  test("divides by the root of epsilon where a row is constant", async () => {
    const x = sample(1, [2, 4]);
    x.values.fill(0.5, 0, 4);
    await check(x, 1e-2);
  });

  test("keeps its accuracy where the mean is large beside the deviation", async () => {
    const x = sample(1, [3, 16]);
    x.values.forEach((value, i) => {
      // A multiple of 1/64, so that the shifted value is exact.
      x.values[i] = Math.round(value * 64) / 64 + 100;
    });
    await check(x, 1e-5);
  });

  test("holds for random sizes", async () => {
    const leading = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 3 });
    const cases = fc.tuple(leading, fc.integer({ min: 2, max: 40 }), fc.constantFrom(1e-6, 1e-5, 1e-3));
    await fc.assert(
      fc.asyncProperty(cases, ([leading, width, epsilon]) => check(sample(4, [...leading, width]), epsilon)),
      { seed: 7, numRuns: 10 },
    );
  });

  test("adds 1e-5 when no epsilon is given", async () => {
    const y = tf.tidy(() => layerNorm(tf.tensor2d([[0, 1e-2]]), tf.ones([2]), tf.zeros([2])));
    const [x, gain, bias] = [Float64Array.of(0, Math.fround(1e-2)), Float64Array.of(1, 1), new Float64Array(2)];
    expectClose(await read(y), f64.layerNorm({ x, gain, bias, epsilon: 1e-5 }));
    y.dispose();
  });

  test("names what does not fit", () => {
    tf.tidy(() => {
      const [x, four, three] = [tf.ones([2, 3]), tf.ones([4]), tf.ones([3])];
      const whole = tf.ones([2], "int32");
      expectRefusal(() => layerNorm(x, four, three), "layerNorm: gain must be float32 (3), got float32 (4)");
      expectRefusal(() => layerNorm(x, three, x), "layerNorm: bias must be float32 (3), got float32 (2, 3)");
      expectRefusal(() => layerNorm(whole, three, three), "layerNorm: x must be float32 (..., width), got int32 (2)");
      expectRefusal(
        () => layerNorm(x, three, three, { epsilon: -1 }),
        "layerNorm: epsilon must be a number of at least 0, got -1",
      );
    });
  });
});
