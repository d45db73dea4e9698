// gelu against float64, in both forms, where it bends and where it is flat.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { gelu } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import * as f64 from "./float64.ts";
import { expectClose, expectRefusal, type Operand, read, runOp, sample } from "./operands.ts";

type Form = "none" | "tanh";
const FORMS: readonly Form[] = ["none", "tanh"];

async function check(x: Operand, approximate: Form): Promise<void> {
  const { y, shape, dy, gradients } = await runOp({ x }, ({ x }) => gelu(x as tf.Tensor, { approximate }));
  expect(shape).toEqual(x.shape);
  expectClose(
    y,
    x.values.map((value) => f64.geluAt(value, approximate)),
    { terms: x.values },
  );
  expectClose(
    gradients.x as Float32Array,
    x.values.map((value, i) => f64.geluSlopeAt(value, approximate) * (dy[i] as number)),
    { terms: dy },
  );
}

forEachEngine("gelu", () => {
  for (const form of FORMS) {
    test(`gives value and gradient with approximate ${form} for 0-D to 4-D inputs`, async () => {
      for (const shape of [[], [1], [7], [3, 5], [2, 3, 4], [2, 1, 3, 5], [0], [3, 0, 2]]) {
        await check(sample(5, shape, 2), form);
      }
    });

    test(`is 0 far left and x far right with approximate ${form}`, async () => {
      const values = Float64Array.of(-1000, -50, -20, -9, 0, 9, 20, 50, 1000).map(Math.fround);
      await check({ values, shape: [9] }, form);
    });
  }

  test("joins the pieces that many values are taken in", async () => {
    // The torch engine's threads take 32768 at a time.
    await check(sample(8, [70_001], 2), "tanh");
  });

  test("holds for random sizes", async () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 17 }), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(shapes, fc.constantFrom(...FORMS), (shape, form) => check(sample(6, shape, 3), form)),
      { seed: 7, numRuns: 10 },
    );
  });

  test("takes the exact form when none is named", async () => {
    const y = tf.tidy(() => gelu(tf.tensor1d([1])));
    expectClose(await read(y), [f64.geluAt(1, "none")]);
    expect(Math.abs(f64.geluAt(1, "none") - f64.geluAt(1, "tanh"))).toBeGreaterThan(1e-4);
    y.dispose();
  });

  test("names what does not fit", () => {
    tf.tidy(() => {
      const whole = tf.ones([2, 3], "int32");
      expectRefusal(() => gelu(whole), "gelu: x must be float32 (...), got int32 (2, 3)");
      const form = { approximate: "erf" as Form };
      expectRefusal(() => gelu(tf.ones([2]), form), `gelu: approximate must be "none" or "tanh", got erf`);
    });
  });
});
