// dropout: its rate, its seed, the scale of what is kept, and a gradient through the same entries.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { dropout } from "../../../workbench/engine/ops/index.ts";
import { forEachEngine } from "../engines.ts";
import { expectClose, expectRefusal, liveTensors, read, runOp, sample } from "./operands.ts";

/** What dropout leaves of ones. */
async function kept(size: number, options: { rate: number; seed: number }): Promise<Float32Array> {
  const y = tf.tidy(() => dropout(tf.ones([size]), options));
  const values = await read(y);
  y.dispose();
  return values;
}

const share = (values: Float32Array) => values.filter((value) => value === 0).length / values.length;

forEachEngine("dropout", () => {
  test("scales what it keeps and sends gradients through the same entries", async () => {
    for (const shape of [[40], [3, 5, 7], [2, 1, 3, 4], [0], []]) {
      const x = sample(1, shape);
      const rate = 0.3;
      const { y, dy, gradients } = await runOp({ x }, ({ x }) => dropout(x as tf.Tensor, { rate, seed: 5 }));
      const mask = x.values.map((_, i) => (y[i] === 0 ? 0 : 1 / (1 - rate)));
      expectClose(
        y,
        x.values.map((value, i) => value * (mask[i] as number)),
      );
      expectClose(
        gradients.x as Float32Array,
        dy.map((value, i) => value * (mask[i] as number)),
      );
    }
  });

  test("drops about as many as the rate says", async () => {
    for (const rate of [0.1, 0.5, 0.9]) {
      // 20 000 draws: four standard deviations are below 0.015
      expect(Math.abs(share(await kept(20_000, { rate, seed: 11 })) - rate)).toBeLessThan(0.015);
    }
  });

  test("drops the same entries for the same seed, others for another", async () => {
    const first = await kept(1000, { rate: 0.5, seed: 3 });
    await kept(10, { rate: 0.5, seed: 4 });
    expect(await kept(1000, { rate: 0.5, seed: 3 })).toEqual(first);
    for (const seed of [4, 2 ** 32 + 3, Number.MAX_SAFE_INTEGER]) {
      const other = await kept(1000, { rate: 0.5, seed });
      const agreeing = other.filter((value, i) => value === first[i]).length;
      // half of a thousand, give or take five standard deviations
      expect(Math.abs(agreeing - 500)).toBeLessThan(80);
    }
  });

  test("keeps all at rate 0", async () => {
    expect(share(await kept(500, { rate: 0, seed: 1 }))).toBe(0);
  });

  test("keeps one byte an entry for the gradient", () => {
    const x = tf.ones([1000]);
    const before = { ...liveTensors(), bytes: tf.memory().numBytes };
    let recorded = 0;
    const gradient = tf.grad((x: tf.Tensor) => {
      const y = dropout(x, { rate: 0.5, seed: 1 });
      recorded = tf.memory().numBytes - before.bytes - 4 * y.size;
      return y;
    })(x);
    // tfjs counts the saved mask under both of its names while the forward's scope is open
    expect(recorded).toBeLessThanOrEqual(2 * 1000);
    tf.dispose([x, gradient]);
  });

  test("names what does not fit", () => {
    tf.tidy(() => {
      const x = tf.ones([2]);
      const seed = 1;
      expectRefusal(
        () => dropout(tf.ones([2], "int32"), { rate: 0.5, seed }),
        "dropout: x must be float32 (...), got int32 (2)",
      );
      expectRefusal(() => dropout(x, { rate: 1, seed }), "dropout: rate must be at least 0 and below 1, got 1");
      expectRefusal(() => dropout(x, { rate: -0.1, seed }), "dropout: rate must be at least 0 and below 1, got -0.1");
      expectRefusal(
        () => dropout(x, { rate: 0.5, seed: 0.5 }),
        "dropout: seed must be a safe integer of at least 0, got 0.5",
      );
    });
  });
});
