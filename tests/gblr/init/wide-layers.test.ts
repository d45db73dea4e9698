// activationAwareSvd of a layer with thousands of inputs, whose covariance is not decomposed. The covariance is that of 16
// inputs, so the truth is known from small matrices in float64.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { product, symmetricEigenFloat64 } from "../../../workbench/engine/linalg/float64.ts";
import { activationAwareSvd } from "../../../workbench/gblr/init/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { liveTensors, sample, toTensor } from "../../engine/ops/operands.ts";

const [nOut, nIn, count, blocks] = [8, 4100, 16, 4];

const turned = (x: Float64Array, rows: number): Float64Array =>
  x.map((_, i) => x[(i % rows) * (x.length / rows) + Math.floor(i / rows)] as number);

/** x xᵀ of x (rows, …). */
const gramOf = (x: Float64Array, rows: number): Float64Array =>
  product(x, turned(x, rows), { rows, inner: x.length / rows, columns: rows });

forEachEngine("activationAwareSvd of a wide layer", (_, { name }) => {
  // Plain JavaScript takes seconds for a product with the covariance.
  test.skipIf(name === "cpu")(
    "reaches the smallest output error, and its singular values are those of M Σ^½",
    async () => {
      const weight = Float64Array.from(sample(1, [nOut, nIn]).values);
      // Inputs of falling size.
      const inputs = Float64Array.from(
        sample(2, [count, nIn]).values,
        (value, i) => value * 0.7 ** Math.floor(i / nIn),
      );
      const before = liveTensors();
      const m = toTensor({ values: weight, shape: [nOut, nIn] }) as tf.Tensor2D;
      const rows = toTensor({ values: inputs, shape: [count, nIn] }) as tf.Tensor2D;
      const sigma = tf.tidy(() => tf.mul(tf.matMul(rows, rows, true), 1 / count)) as tf.Tensor2D;
      const { lr_weight1, lr_weight2, singularValues } = await activationAwareSvd(m, sigma, { blocks });
      const outputs = tf.tidy(() => {
        const rest = tf.sub(m, tf.sum(tf.matMul(lr_weight2, lr_weight1), 0)) as tf.Tensor2D;
        return tf.matMul(rest, rows, false, true);
      });
      const error = Math.hypot(...(await outputs.data())) ** 2 / count;
      const found = await singularValues.data();
      tf.dispose([m, rows, sigma, lr_weight1, lr_weight2, singularValues, outputs]);
      expect(liveTensors()).toEqual(before);

      const seen = product(weight, turned(inputs, count), { rows: nOut, inner: nIn, columns: count });
      const energies = symmetricEigenFloat64(gramOf(seen, nOut), nOut).values.map((value) => value / count);
      const smallest = energies.slice(blocks).reduce((sum, value) => sum + value, 0);
      expect(error / smallest).toBeGreaterThan(0.999);
      expect(error / smallest).toBeLessThan(1.001);
      const largest = (symmetricEigenFloat64(gramOf(inputs, count), count).values[0] as number) / count;
      const own = gramOf(weight, nOut);
      const scaled = gramOf(seen, nOut).map((value, i) => value / count / largest + 1e-6 * (own[i] as number));
      const expected = symmetricEigenFloat64(scaled, nOut).values;
      for (const [i, value] of found.entries()) {
        expect(Math.abs(value ** 2 / (expected[i] as number) - 1)).toBeLessThan(1e-3);
      }
    },
  );
});
