// crossEntropy against float64: ignored rows, smoothing, large logits, targets that are no class, what it saves.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { crossEntropy } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import * as f64 from "./float64.ts";
import { expectClose, expectRefusal, liveTensors, type Operand, read, runOp, sample, sampleIds } from "./operands.ts";

interface Case {
  logits: Operand;
  targets: Int32Array;
  ignoreIndex?: number;
  labelSmoothing?: number;
}

async function check({ logits, targets, ignoreIndex = -100, labelSmoothing = 0 }: Case): Promise<void> {
  const ids = tf.tensor1d(targets, "int32");
  const { y, shape, dy, gradients } = await runOp({ logits }, ({ logits }) =>
    crossEntropy(logits as tf.Tensor, ids, { ignoreIndex, labelSmoothing }),
  );
  ids.dispose();
  const reference = { logits: logits.values, targets, ignoreIndex, labelSmoothing };
  expect(shape).toEqual([targets.length]);
  expectClose(y, f64.crossEntropy(reference), { terms: logits.values });
  expectClose(gradients.logits as Float32Array, f64.crossEntropyGradient(reference, dy), { terms: dy });
}

forEachEngine("crossEntropy", () => {
  test("gives value and gradient", async () => {
    for (const [rows, classes] of [
      [1, 2],
      [5, 7],
      [3, 1],
      [4, 301],
    ] as const) {
      await check({ logits: sample(1, [rows, classes], 2), targets: sampleIds(2, rows, classes) });
    }
  });

  test("smooths labels", async () => {
    for (const labelSmoothing of [0.1, 1]) {
      await check({ logits: sample(1, [5, 7], 2), targets: sampleIds(2, 5, 7), labelSmoothing });
    }
  });

  test("leaves ignored rows out, whether or not their target is a class", async () => {
    const logits = sample(1, [4, 5], 2);
    await check({ logits, targets: Int32Array.of(1, -100, 4, -100) });
    await check({ logits, targets: Int32Array.of(1, 0, 4, 0), ignoreIndex: 0, labelSmoothing: 0.2 });
    await check({ logits, targets: Int32Array.of(99, 99, 99, 99), ignoreIndex: 99 });
  });

  test("takes no rows", async () => {
    await check({ logits: sample(1, [0, 5]), targets: new Int32Array(0) });
  });

  test("stays finite with logits in the thousands", async () => {
    await check({ logits: sample(1, [3, 6], 3000), targets: Int32Array.of(0, 3, 5) });
  });

  test("splits many logits into pieces without a seam", async () => {
    // More than four million logits: the torch engine takes them in two.
    const [rows, classes] = [3, 1_500_000];
    const logits = tf.fill([rows, classes], 0.5);
    const targets = tf.tensor1d([0, 7, classes - 1], "int32");
    const loss = crossEntropy(logits, targets);
    expectClose(await read(loss), new Array<number>(rows).fill(Math.log(classes)));
    tf.dispose([logits, targets, loss]);
  });

  test("gives NaN in rows whose target is no class, and only there", async () => {
    const logits = tf.tensor(Float32Array.from(sample(1, [4, 3]).values), [4, 3]);
    const targets = tf.tensor1d([0, 3, -1, 2], "int32");
    const { value, grad } = tf.valueAndGrad((logits: tf.Tensor) => crossEntropy(logits, targets))(logits);
    expect(Array.from(await read(value), Number.isNaN)).toEqual([false, true, true, false]);
    const rows = Array.from({ length: 4 }, (_, row) => row);
    const gradient = await read(grad);
    expect(rows.map((row) => gradient.subarray(3 * row, 3 * row + 3).every(Number.isNaN))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    tf.dispose([logits, targets, value, grad]);
  });

  test("saves nothing of the size of the logits but the logits", () => {
    const [logits, targets] = [tf.ones([64, 128]), tf.zeros([64], "int32")];
    const before = liveTensors().buffers;
    let recorded = 0;
    const gradient = tf.grad((logits: tf.Tensor) => {
      const loss = crossEntropy(logits, targets);
      recorded = liveTensors().buffers;
      return loss;
    })(logits);
    // the loss and the log-sum-exp
    expect(recorded).toBe(before + 2);
    tf.dispose([logits, targets, gradient]);
  });

  test("holds for random sizes", async () => {
    const cases = fc.record({
      rows: fc.integer({ min: 1, max: 9 }),
      classes: fc.integer({ min: 1, max: 40 }),
      labelSmoothing: fc.constantFrom(0, 0.1, 0.5),
      ignoreIndex: fc.constantFrom(-100, 0, 3),
    });
    await fc.assert(
      fc.asyncProperty(cases, ({ rows, classes, ...options }) =>
        check({ logits: sample(3, [rows, classes], 3), targets: sampleIds(4, rows, classes), ...options }),
      ),
      { seed: 7, numRuns: 10 },
    );
  });

  test("names what does not fit", () => {
    tf.tidy(() => {
      const [logits, targets] = [tf.ones([2, 3]), tf.zeros([2], "int32")];
      expectRefusal(
        () => crossEntropy(tf.ones([2, 3, 4]), targets),
        "crossEntropy: logits must be float32 (rows, classes), got float32 (2, 3, 4)",
      );
      expectRefusal(
        () => crossEntropy(logits, tf.zeros([3], "int32")),
        "crossEntropy: targets must be int32 (2), got int32 (3)",
      );
      expectRefusal(
        () => crossEntropy(logits, tf.zeros([2])),
        "crossEntropy: targets must be int32 (2), got float32 (2)",
      );
      expectRefusal(() => crossEntropy(tf.ones([2, 0]), targets), "crossEntropy: classes must be at least 1, got 0");
      expectRefusal(
        () => crossEntropy(logits, targets, { labelSmoothing: 1.5 }),
        "crossEntropy: labelSmoothing must be from 0 to 1, got 1.5",
      );
      expectRefusal(
        () => crossEntropy(logits, targets, { ignoreIndex: 0.5 }),
        "crossEntropy: ignoreIndex must be an integer, got 0.5",
      );
    });
  });
});
