// Factors of covariances on every engine: both ways give the covariance back and the same decompositions, and layers with
// the same covariance share one factor.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { outputTriples, SharedWhitening, WHITENINGS } from "../../../workbench/gblr/init/index.ts";
import { whiteningOf } from "../../../workbench/gblr/init/whitening.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { expectClose, read, sample, toTensor } from "../../engine/ops/operands.ts";

/** The covariance of inputs of which some hardly vary. */
function someCovariance(n: number, seed: number): tf.Tensor2D {
  return tf.tidy(() => {
    const scale = tf.tensor1d(Array.from({ length: n }, (_, i) => 0.7 ** i));
    const x = tf.mul(toTensor(sample(seed, [3 * n, n])), scale) as tf.Tensor2D;
    return tf.mul<tf.Tensor2D>(tf.matMul(x, x, true), 1 / (3 * n));
  });
}

forEachEngine("whitening", () => {
  test.each(WHITENINGS)("by %s: S times its transpose is the scaled covariance and the ridge", async (by) => {
    const covariance = someCovariance(12, 3);
    const whitening = new SharedWhitening(by);
    whitening.use(covariance);
    const ridge = 1e-3;
    const factor = await whiteningOf(covariance, ridge);
    const product = await read(tf.tidy(() => tf.matMul(factor, factor, false, true)));
    const sigma = await read(covariance);
    const share = ((product[0] as number) - ridge) / (sigma[0] as number);
    const expected = sigma.map((value, i) => share * value + (i % 13 === 0 ? ridge : 0));
    expectClose(product, expected, { tolerance: 1e-5 });
    whitening.release();
    tf.dispose([covariance, factor]);
  });

  test("both ways lead to the same decomposition", async () => {
    const [covariance, weight] = [someCovariance(10, 4), toTensor(sample(5, [6, 10])) as tf.Tensor2D];
    const found = [];
    for (const by of WHITENINGS) {
      const whitening = new SharedWhitening(by);
      whitening.use(covariance);
      const { u, s } = await outputTriples(weight, covariance);
      const projector = await read(
        tf.tidy(() => tf.matMul(tf.slice(u, [0, 0], [6, 3]), tf.slice(u, [0, 0], [6, 3]), false, true)),
      );
      const values = await read(s);
      found.push({ projector, shares: values.map((value) => value / (values[0] as number)) });
      whitening.release();
      tf.dispose([u, s]);
    }
    const [first, second] = found as [(typeof found)[0], (typeof found)[0]];
    expectClose(second.projector, first.projector, { tolerance: 1e-4 });
    expectClose(second.shares, first.shares, { tolerance: 1e-4 });
    tf.dispose([covariance, weight]);
  });

  test("a shared factor is computed once, and disposed of with the sharing", async () => {
    const covariances = [someCovariance(8, 6), someCovariance(8, 7)] as const;
    const before = tf.memory();
    const whitening = new SharedWhitening("cholesky");
    for (const covariance of covariances) {
      whitening.use(covariance);
      const [one, other] = [await whiteningOf(covariance, 1e-6), await whiteningOf(covariance, 1e-6)];
      expect(other.dataId).toBe(one.dataId);
      whitening.use(covariance);
      tf.dispose([one, other]);
      expect(tf.memory().numTensors).toBe(before.numTensors + 1);
    }
    whitening.release();
    expect(tf.memory().numTensors).toBe(before.numTensors);
    const alone = await whiteningOf(covariances[0], 1e-6);
    tf.dispose([alone, ...covariances]);
  });

  test("inputs without variance have the identity", async () => {
    const none = tf.zeros([3, 3]) as tf.Tensor2D;
    for (const by of WHITENINGS) {
      const whitening = new SharedWhitening(by);
      whitening.use(none);
      const factor = await whiteningOf(none, 1e-6);
      expectClose(await read(factor), [1, 0, 0, 0, 1, 0, 0, 0, 1], { tolerance: 1e-6 });
      whitening.release();
      factor.dispose();
    }
    none.dispose();
  });
});
