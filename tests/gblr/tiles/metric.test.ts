// The metric of outputs on every engine against its definition in float64: norms of errors, and coordinates of columns
// that belong to entries.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { EngineError } from "../../../workbench/engine/core/errors.ts";
import { OutputMetric } from "../../../workbench/gblr/tiles/metric.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { expectClose, liveTensors, read } from "../../engine/ops/operands.ts";
import { COVARIANCES, normOf, random, rootOf, seenNorm, tensorOf, type Values } from "./cases.ts";

const at = (values: ArrayLike<number>, i: number): number => values[i] as number;

const named = (name: keyof typeof COVARIANCES, seed: number, n: number): Values =>
  (COVARIANCES[name] as (seed: number, n: number) => Values)(seed, n);

/** Σ with its diagonal raised by a share, which the metric says it has added. */
const damped = (sigma: Values, share: number): Values => ({
  ...sigma,
  values: sigma.values.map((value, i) => (i % (sigma.columns + 1) === 0 ? value * (1 + share) : value)),
});

forEachEngine("OutputMetric", () => {
  test.each([
    "many mixed inputs",
    "the identity",
    "deviations from 1e-6 to 1e6, independent",
    "a few massive features",
    "very small inputs",
  ])("the norm of a whitened matrix is that of its outputs, for %s", async (name) => {
    const sigma = named(name, 3, 14);
    const matrix = random(4, 5, 14);
    const before = liveTensors();
    const [x, covariance] = [tensorOf(matrix), tensorOf(sigma)];
    const metric = await OutputMetric.of(covariance);
    const whitened = metric.whitened(x);
    const found = normOf({ ...matrix, values: Float64Array.from(await read(whitened)) });
    const root = rootOf(damped(sigma, metric.damping));
    expect(metric.damping).toBeLessThanOrEqual(1e-5);
    expect(Math.abs(found / seenNorm(matrix, root) - 1)).toBeLessThan(1e-5);
    tf.dispose([x, covariance, whitened]);
    metric.dispose();
    expect(liveTensors()).toEqual(before);
  });

  test.each(["fewer inputs than features", "one input", "features that never occur"])(
    "is factored, with hardly any damping, for %s",
    async (name) => {
      const sigma = named(name, 5, 30);
      const matrix = random(6, 7, 30);
      const [x, covariance] = [tensorOf(matrix), tensorOf(sigma)];
      const metric = await OutputMetric.of(covariance);
      const whitened = metric.whitened(x);
      const found = normOf({ ...matrix, values: Float64Array.from(await read(whitened)) });
      expect(metric.damping).toBeLessThanOrEqual(1e-5);
      expect(Math.abs(found / seenNorm(matrix, rootOf(sigma)) - 1)).toBeLessThan(1e-3);
      tf.dispose([x, covariance, whitened]);
      metric.dispose();
    },
  );

  test("is a multiple of the Frobenius norm if the covariance is zero", async () => {
    const covariance = tf.zeros<tf.Rank.R2>([9, 9]);
    const metric = await OutputMetric.of(covariance);
    const eye = tf.eye(9);
    const lower = metric.whitened(eye);
    const values = await read(lower);
    expect(at(values, 0)).toBeGreaterThan(0);
    expectClose(
      values.map((value) => value / at(values, 0)),
      await read(eye),
      { tolerance: 1e-6 },
    );
    tf.dispose([covariance, eye, lower]);
    metric.dispose();
  });

  test.each([
    { start: 0, end: 20 },
    { start: 0, end: 6 },
    { start: 6, end: 13 },
    { start: 19, end: 20 },
  ])("coordinates of entries in columns $start to $end give these entries back, and their norm", async (columns) => {
    const { start, end } = columns;
    const sigma = named("many mixed inputs", 7, 20);
    const inside = random(8, 3, end - start);
    const padded: Values = { values: new Float64Array(60), rows: 3, columns: 20 };
    inside.values.forEach((value, i) => {
      padded.values[Math.floor(i / (end - start)) * 20 + start + (i % (end - start))] = value;
    });
    const before = liveTensors();
    const [x, covariance] = [tensorOf(padded), tensorOf(sigma)];
    const metric = await OutputMetric.of(covariance);
    const whitened = metric.whitened(x);
    const coordinates = await metric.coordinates(whitened, columns);
    const back = await metric.fromCoordinates(coordinates, columns);
    const entries = await metric.entries(coordinates, columns);
    expect(coordinates.shape).toEqual([3, end - start]);
    expectClose(await read(entries), inside.values, { tolerance: 1e-4 });
    expectClose(await read(back), await read(whitened), { tolerance: 1e-5 });
    const norm = normOf({ ...inside, values: Float64Array.from(await read(coordinates)) });
    expect(Math.abs(norm / seenNorm(padded, rootOf(sigma)) - 1)).toBeLessThan(1e-4);
    tf.dispose([x, covariance, whitened, coordinates, back, entries]);
    metric.dispose();
    expect(liveTensors()).toEqual(before);
  });

  test("coordinates of other rows are those of the nearest entries in the columns", async () => {
    const columns = { start: 4, end: 9 };
    const [x, covariance] = [tensorOf(random(9, 2, 12)), tensorOf(named("many mixed inputs", 10, 12))];
    const metric = await OutputMetric.of(covariance);
    const whitened = metric.whitened(x);
    const coordinates = await metric.coordinates(whitened, columns);
    const near = await metric.fromCoordinates(coordinates, columns);
    // What remains is orthogonal to whatever entries of these columns can be.
    const rest = tf.tidy(() => tf.sub(whitened, near) as tf.Tensor2D);
    const remaining = await metric.coordinates(rest, columns);
    const size = normOf({ values: Float64Array.from(await read(whitened)), rows: 2, columns: 12 });
    expect(normOf({ values: Float64Array.from(await read(remaining)), rows: 2, columns: 5 })).toBeLessThan(1e-5 * size);
    tf.dispose([x, covariance, whitened, coordinates, near, rest, remaining]);
    metric.dispose();
  });

  test("a matrix that is not a covariance is refused, and no tensor is left", async () => {
    const covariance = tf.tensor2d([1, 2, 2, 1], [2, 2]);
    const before = liveTensors();
    const error = await OutputMetric.of(covariance).then(undefined, (reason: unknown) => reason);
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).message).toContain("covariance of inputs is not positive semidefinite");
    expect(liveTensors()).toEqual(before);
    covariance.dispose();
  });
});
