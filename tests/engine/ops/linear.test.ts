// linear against float64: forms, layouts, sizes, gradients, what is lazy and what is refused.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { type LinearOptions, linear } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import * as f64 from "./float64.ts";
import { expectClose, expectRefusal, liveTensors, type Operand, runOp, sample, toTensor } from "./operands.ts";

interface Case extends Required<LinearOptions> {
  leading: number[];
  nIn: number;
  nOut: number;
  bias: boolean;
}

async function check({ leading, nIn, nOut, bias: withBias, layout, activation }: Case): Promise<void> {
  const x = sample(1, [...leading, nIn]);
  const weight = sample(2, layout === "out_in" ? [nOut, nIn] : [nIn, nOut], 0.5);
  const operands: Record<string, Operand> = withBias ? { x, weight, bias: sample(3, [nOut]) } : { x, weight };
  const { y, shape, dy, gradients } = await runOp(operands, ({ x, weight, bias }) =>
    linear(x as tf.Tensor, weight as tf.Tensor, bias, { layout, activation }),
  );
  const rows = leading.reduce((product, size) => product * size, 1);
  const bias = operands.bias?.values;
  const options = { x: x.values, weight: weight.values, bias, rows, nIn, nOut, layout, activation };
  expect(shape).toEqual([...leading, nOut]);
  expectClose(y, f64.linear(options), { terms: x.values });
  const expected = f64.linearGradients(options, dy);
  expectClose(gradients.x as Float32Array, expected.x, { terms: dy });
  expectClose(gradients.weight as Float32Array, expected.weight, { terms: dy });
  if (withBias) {
    expectClose(gradients.bias as Float32Array, expected.bias, { terms: dy });
  }
}

const LAYOUTS = ["out_in", "in_out"] as const;
const ACTIVATIONS = ["none", "gelu", "gelu_tanh"] as const;

forEachEngine("linear", () => {
  for (const layout of LAYOUTS) {
    for (const activation of ACTIVATIONS) {
      test(`gives value and gradients with layout ${layout} and activation ${activation}`, async () => {
        for (const bias of [true, false]) {
          await check({ leading: [5], nIn: 7, nOut: 3, bias, layout, activation });
        }
      });
    }
  }

  test("takes any number of leading dimensions", async () => {
    for (const leading of [[], [1], [3, 2], [2, 1, 3]]) {
      await check({ leading, nIn: 5, nOut: 4, bias: true, layout: "out_in", activation: "gelu" });
    }
  });

  test("multiplies one row and a few with weights wider than a vector unit, also transposed views of them", async () => {
    for (const layout of LAYOUTS) {
      for (const leading of [[1], [4], [1, 1]]) {
        await check({ leading, nIn: 70, nOut: 150, bias: true, layout, activation: "none" });
      }
    }
    const [x, weight] = [sample(4, [1, 40]), sample(5, [30, 40])];
    const reference = { bias: undefined, rows: 1, nIn: 40, nOut: 30, layout: "out_in", activation: "none" } as const;
    const y = tf.tidy(() => linear(toTensor(x), tf.transpose(toTensor(weight)), undefined, { layout: "in_out" }));
    expectClose(await y.data(), f64.linear({ ...reference, x: x.values, weight: weight.values }));
    y.dispose();
  });

  test("takes no rows, and no inputs", async () => {
    for (const layout of LAYOUTS) {
      await check({ leading: [0], nIn: 3, nOut: 2, bias: true, layout, activation: "gelu" });
      await check({ leading: [2, 0], nIn: 3, nOut: 2, bias: false, layout, activation: "none" });
      await check({ leading: [3], nIn: 0, nOut: 2, bias: true, layout, activation: "none" });
    }
  });

  test("holds for random sizes", async () => {
    const size = fc.integer({ min: 1, max: 33 });
    const cases = fc.record({
      leading: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
      nIn: size,
      nOut: size,
      bias: fc.boolean(),
      layout: fc.constantFrom(...LAYOUTS),
      activation: fc.constantFrom(...ACTIVATIONS),
    });
    await fc.assert(fc.asyncProperty(cases, check), { seed: 7, numRuns: 12 });
  });

  test("computes only the gradients that are asked for", async () => {
    const [x, weight] = [tf.ones([2, 3]), tf.ones([4, 3])];
    const products = async (gradients: () => tf.Tensor[]) => {
      const { kernels } = await tf.profile(() => tf.tidy(gradients));
      return kernels.filter(({ name }) => name === tf.BatchMatMul).length;
    };
    const one = await products(() => [tf.grad((w: tf.Tensor) => linear(x, w))(weight)]);
    const both = await products(() => tf.grads((x: tf.Tensor, w: tf.Tensor) => linear(x, w))([x, weight]));
    expect(both).toBe(one + 1);
  });

  test("frees the preactivation when no gradient is recorded", () => {
    const [x, weight] = [tf.ones([2, 3]), tf.ones([4, 3])];
    const before = liveTensors();
    const y = linear(x, weight, undefined, { activation: "gelu" });
    expect(liveTensors().buffers).toBe(before.buffers + 1);
    tf.dispose([x, weight, y]);
  });

  test("names the operand that does not fit", () => {
    tf.tidy(() => {
      const [x, weight] = [tf.ones([2, 48]), tf.ones([96, 40])];
      expectRefusal(() => linear(x, weight), "linear: weight must be float32 (n_out, 48), got float32 (96, 40)");
      expectRefusal(
        () => linear(x, weight, undefined, { layout: "in_out" }),
        "linear: weight must be float32 (48, n_out), got float32 (96, 40)",
      );
      expectRefusal(
        () => linear(x, tf.ones([5, 48]), tf.ones([4])),
        "linear: bias must be float32 (5), got float32 (4)",
      );
      expectRefusal(
        () => linear(tf.ones([2, 3], "int32"), weight),
        "linear: x must be float32 (..., n_in), got int32 (2, 3)",
      );
      expectRefusal(() => linear(tf.scalar(1), weight), "linear: x must be float32 (..., n_in), got float32 ()");
      const disposed = tf.ones([2, 3]);
      disposed.dispose();
      expectRefusal(
        () => linear(disposed, weight),
        "linear: x is disposed, keep it with tf.keep or move the call into its tidy",
      );
    });
  });

  test("names the option that it does not know", () => {
    tf.tidy(() => {
      const options = { activation: "relu" } as unknown as LinearOptions;
      expectRefusal(
        () => linear(tf.ones([2, 3]), tf.ones([4, 3]), undefined, options),
        `linear: activation must be "none", "gelu" or "gelu_tanh", got relu`,
      );
    });
  });
});
