// gatedActivation against float64: silu and gelu_tanh, where they bend and where they are flat, and what is refused.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { gatedActivation } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import * as f64 from "./float64-decoder.ts";
import { expectClose, expectRefusal, type Operand, runOp, sample } from "./operands.ts";

const ACTIVATIONS: readonly f64.GateActivation[] = ["silu", "gelu_tanh"];

async function check(gate: Operand, activation: f64.GateActivation): Promise<void> {
  const up = sample(77, gate.shape);
  const { y, shape, dy, gradients } = await runOp({ gate, up }, ({ gate, up }) =>
    gatedActivation(gate as tf.Tensor, up as tf.Tensor, activation),
  );
  const value = (operands: { gate: Float64Array; up: Float64Array }) => f64.gatedActivation(operands, activation);
  const operands = { gate: gate.values, up: up.values };
  expect(shape).toEqual(gate.shape);
  expectClose(y, value(operands));
  const expected = f64.differences(operands, value, dy);
  expectClose(gradients.gate as Float32Array, expected.gate, { terms: dy });
  expectClose(gradients.up as Float32Array, expected.up, { terms: dy });
}

forEachEngine("gatedActivation", () => {
  for (const activation of ACTIVATIONS) {
    test(`gives value and gradients with ${activation} for 0-D to 4-D inputs`, async () => {
      for (const shape of [[], [1], [7], [3, 5], [2, 3, 4], [2, 1, 3, 5], [0], [3, 0, 2]]) {
        await check(sample(5, shape, 2), activation);
      }
    });

    test(`gives 0 far left and the gate far right with ${activation}`, async () => {
      const values = Float64Array.of(-1000, -100, -50, -20, -9, 0, 9, 20, 50, 100, 1000).map(Math.fround);
      await check({ values, shape: [11] }, activation);
    });

    test(`passes on what is not a number with ${activation}`, async () => {
      const one = tf.ones([2]);
      const gate = tf.tensor1d([Number.NaN, 1]);
      const y = gatedActivation(gate, one, activation);
      expect(Array.from(await y.data(), Number.isNaN)).toEqual([true, false]);
      tf.dispose([one, gate, y]);
    });

    test(`holds for random sizes with ${activation}`, async () => {
      const size = fc.integer({ min: 1, max: 9 });
      await fc.assert(
        fc.asyncProperty(fc.array(size, { minLength: 1, maxLength: 3 }), (shape) =>
          check(sample(3, shape, 3), activation),
        ),
        { seed: 7, numRuns: 8 },
      );
    });
  }

  test("takes operands that are views with their axes exchanged", async () => {
    const gate = tf.tidy(() => tf.transpose(tf.reshape(tf.range(-12, 12, 1, "float32"), [4, 6])));
    const copy = tf.tensor(await gate.data(), gate.shape);
    const up = tf.tidy(() => tf.reshape(tf.range(0, 24, 1, "float32"), [6, 4]));
    const [ofView, ofCopy] = [gatedActivation(gate, up, "silu"), gatedActivation(copy, up, "silu")];
    expectClose(await ofView.data(), await ofCopy.data(), { tolerance: 1e-6 });
    tf.dispose([gate, copy, up, ofView, ofCopy]);
  });

  test("names what does not fit", () => {
    tf.tidy(() => {
      const gate = tf.ones([2, 6]);
      expectRefusal(
        () => gatedActivation(gate, tf.ones([2, 3]), "silu"),
        "gatedActivation: up must be float32 (2, 6), got float32 (2, 3)",
      );
      expectRefusal(
        () => gatedActivation(tf.ones([2, 6], "int32"), gate, "silu"),
        "gatedActivation: gate must be float32 (...), got int32 (2, 6)",
      );
      expectRefusal(
        () => gatedActivation(gate, gate, "relu" as "silu"),
        `gatedActivation: activation must be "silu" or "gelu_tanh", got relu`,
      );
    });
  });
});
