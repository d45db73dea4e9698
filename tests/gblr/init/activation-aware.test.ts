// activationAwareSvd against plain SVD, against its own closed form in float64, and against matrices near its own.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { ShapeError } from "../../../workbench/engine/core/errors.ts";
import { product, svdFloat64, symmetricEigenFloat64 } from "../../../workbench/engine/linalg/float64.ts";
import { activationAwareSvd, svdFactors } from "../../../workbench/gblr/init/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { expectClose, liveTensors, sample, toTensor } from "../../engine/ops/operands.ts";

type Values = ArrayLike<number>;

const at = (values: Values, i: number): number => values[i] as number;

const turned = (x: Float64Array, rows: number): Float64Array =>
  x.map((_, i) => at(x, (i % rows) * (x.length / rows) + Math.floor(i / rows)));

/** The covariance of `count` random inputs whose features differ in size and are mixed; singular when few. */
function covarianceOf(seed: number, n: number, count: number): Float64Array {
  const sizes = Float64Array.from({ length: n }, (_, i) => 3 ** -(i % 5));
  const mixing = Float64Array.from(sample(seed, [n, n]).values);
  const inputs = Float64Array.from(sample(seed + 1, [count, n]).values, (value, i) => value * at(sizes, i % n));
  const mixed = product(inputs, mixing, { rows: count, inner: n, columns: n });
  const sum = product(turned(mixed, count), mixed, { rows: n, inner: count, columns: n });
  return sum.map((value) => Math.fround(value / count));
}

/** ‖D Σ^½‖ of D (rows, n), in float64. */
function seenNorm(difference: Float64Array, covariance: Float64Array, n: number): number {
  const rows = difference.length / n;
  const through = product(difference, covariance, { rows, inner: n, columns: n });
  return Math.sqrt(
    Math.max(
      0,
      through.reduce((sum, value, i) => sum + value * at(difference, i), 0),
    ),
  );
}

interface Case {
  weight: Float64Array;
  covariance: Float64Array;
  shape: [number, number];
}

const makeCase = (seed: number, shape: [number, number], count: number): Case => ({
  weight: Float64Array.from(sample(seed, shape).values),
  covariance: covarianceOf(seed + 7, shape[1], count),
  shape,
});

/** The product of factors, and that of plain SVD at the same rank. */
async function bothProducts({ weight, covariance, shape }: Case, blocks: number) {
  const before = liveTensors();
  const m = toTensor({ values: weight, shape }) as tf.Tensor2D;
  const sigma = toTensor({ values: covariance, shape: [shape[1], shape[1]] }) as tf.Tensor2D;
  const products: Float64Array[] = [];
  for (const factors of [await activationAwareSvd(m, sigma, { blocks }), await svdFactors(m, { blocks })]) {
    const { lr_weight1, lr_weight2, singularValues } = factors;
    expect(lr_weight1.shape).toEqual([blocks, 1, shape[1]]);
    expect(lr_weight2.shape).toEqual([blocks, shape[0], 1]);
    const dense = tf.tidy(() => tf.sum(tf.matMul(lr_weight2, lr_weight1), 0));
    products.push(Float64Array.from(await dense.data()));
    tf.dispose([lr_weight1, lr_weight2, singularValues, dense]);
  }
  tf.dispose([m, sigma]);
  expect(liveTensors()).toEqual(before);
  return products as [aware: Float64Array, plain: Float64Array];
}

const minus = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value - at(b, i));

forEachEngine("activationAwareSvd", (engine) => {
  test("is plain SVD where inputs are as strong in all directions", async () => {
    const { weight, shape } = makeCase(1, [9, 13], 1);
    const identity = Float64Array.from({ length: 169 }, (_, i) => (i % 14 === 0 ? 3 : 0));
    const [aware, plain] = await bothProducts({ weight, covariance: identity, shape }, 4);
    expectClose(aware, plain);
  });

  test("is plain SVD where nothing is known of the inputs", async () => {
    const { weight, shape } = makeCase(2, [8, 6], 1);
    const [aware, plain] = await bothProducts({ weight, covariance: new Float64Array(36), shape }, 3);
    expectClose(aware, plain);
  });

  test("leaves no more error in the outputs than plain SVD, however few the inputs seen", async () => {
    const size = fc.integer({ min: 1, max: 12 });
    await fc.assert(
      fc.asyncProperty(
        size,
        size,
        size,
        fc.nat(1e6),
        fc.integer({ min: 1, max: 24 }),
        async (m, n, rank, seed, count) => {
          const each = makeCase(seed, [m, n], count);
          const [aware, plain] = await bothProducts(each, Math.min(rank, m, n));
          const scale = seenNorm(each.weight, each.covariance, n);
          const [left, leftByPlain] = [minus(each.weight, aware), minus(each.weight, plain)];
          // The ridge is part of what is made least: 1e-6 of the largest variance in every direction.
          const floor = 1e-6 * at(symmetricEigenFloat64(each.covariance, n).values, 0);
          const ridge = Math.sqrt(floor * leftByPlain.reduce((sum, value) => sum + value * value, 0));
          const theirs = Math.hypot(seenNorm(leftByPlain, each.covariance, n), ridge);
          expect(seenNorm(left, each.covariance, n)).toBeLessThanOrEqual(theirs + 1e-5 * scale);
        },
      ),
      { numRuns: engine().name === "torch" ? 60 : 25, seed: 9 },
    );
  });

  test("leaves exactly the tail of the singular values of what the inputs see", async () => {
    const each = makeCase(5, [10, 12], 400);
    const [aware] = await bothProducts(each, 4);
    const { values, vectors } = symmetricEigenFloat64(each.covariance, 12);
    const scaled = turned(vectors, 12).map((value, i) => value * Math.sqrt(at(values, i % 12)));
    const seen = product(each.weight, scaled, { rows: 10, inner: 12, columns: 12 });
    const { s } = svdFloat64({ values: seen, rows: 10, columns: 12 });
    const tail = Math.sqrt(s.slice(4).reduce((sum, value) => sum + value * value, 0));
    const found = seenNorm(minus(each.weight, aware), each.covariance, 12);
    expect(Math.abs(found / tail - 1)).toBeLessThan(1e-3);
  });

  test("no small change of its factors leaves less error", async () => {
    const each = makeCase(6, [7, 8], 200);
    const [aware] = await bothProducts(each, 2);
    const best = seenNorm(minus(each.weight, aware), each.covariance, 8);
    const { left, s, right } = svdFloat64({ values: aware, rows: 7, columns: 8 }, { rank: 2 });
    const scaled = right.map((value, i) => value * at(s, Math.floor(i / 8)));
    for (let seed = 0; seed < 20; seed++) {
      const change = (factor: Float64Array, from: number) =>
        factor.map((value, i) => value + 1e-2 * at(sample(from, [factor.length]).values, i));
      const near = product(turned(change(left, 100 + seed), 2), change(scaled, 200 + seed), {
        rows: 7,
        inner: 2,
        columns: 8,
      });
      expect(seenNorm(minus(each.weight, near), each.covariance, 8)).toBeGreaterThan(best * (1 - 1e-5));
    }
  });

  test("keeps the matrix whole at full rank, unseen directions included", async () => {
    const each = makeCase(8, [6, 9], 3);
    const [aware] = await bothProducts(each, 6);
    expectClose(aware, each.weight);
  });

  test("does not depend on the scale of the covariance", async () => {
    const each = makeCase(9, [6, 9], 50);
    const [one] = await bothProducts(each, 3);
    const [other] = await bothProducts({ ...each, covariance: each.covariance.map((value) => value * 2 ** 20) }, 3);
    expectClose(other, one);
  });

  test("a covariance of another size and settings out of range are refused by name", async () => {
    const weight = tf.ones<tf.Rank.R2>([3, 4]);
    const covariance = tf.eye(4);
    const refusal = (result: Promise<unknown>) => result.then(String, (error: unknown) => error);
    expect(await refusal(activationAwareSvd(weight, tf.eye(3)))).toEqual(
      new ShapeError("activationAwareSvd: covariance must be float32 (4, 4), got float32 (3, 3)"),
    );
    expect(await refusal(activationAwareSvd(weight, covariance, { blocks: 4 }))).toEqual(
      new ShapeError("activationAwareSvd: blocks must be an integer from 1 to 3, got 4"),
    );
    expect(await refusal(activationAwareSvd(weight, covariance, { ridge: 0 }))).toEqual(
      new ShapeError("activationAwareSvd: ridge must be a number above 0, got 0"),
    );
  });
});
