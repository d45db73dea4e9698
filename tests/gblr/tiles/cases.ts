// Matrices and covariances for tests of the tile search, ordinary and adversarial, and the best low rank for them in
// float64, which no result of the search may be worse than.

import * as tf from "@tensorflow/tfjs-core";
import { product, svdFloat64, symmetricEigenFloat64 } from "../../../workbench/engine/linalg/float64.ts";
import { sample } from "../../engine/ops/operands.ts";

/** A matrix row by row; its values are float32 numbers. */
export interface Values {
  values: Float64Array;
  rows: number;
  columns: number;
}

const at = (values: ArrayLike<number>, i: number): number => values[i] as number;

export const transposed = ({ values, rows, columns }: Values): Values => ({
  values: values.map((_, i) => at(values, (i % rows) * columns + Math.floor(i / rows))),
  rows: columns,
  columns: rows,
});

/** a · b in float64. */
export function times(a: Values, b: Values): Values {
  const sizes = { rows: a.rows, inner: a.columns, columns: b.columns };
  return { values: product(a.values, b.values, sizes), rows: a.rows, columns: b.columns };
}

export const minus = (a: Values, b: Values): Values => ({
  ...a,
  values: a.values.map((value, i) => value - at(b.values, i)),
});

/** Frobenius norm. */
export const normOf = ({ values }: Values): number => {
  const most = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  if (most === 0) return 0;
  return most * Math.sqrt(values.reduce((total, value) => total + (value / most) ** 2, 0));
};

/** The same random matrix for the same seed. */
export const random = (seed: number, rows: number, columns: number): Values => ({
  values: Float64Array.from(sample(seed, [rows, columns]).values),
  rows,
  columns,
});

const float32 = (matrix: Values): Values => ({ ...matrix, values: matrix.values.map(Math.fround) });

const mapped = (matrix: Values, change: (value: number, row: number, column: number) => number): Values =>
  float32({
    ...matrix,
    values: matrix.values.map((value, i) => change(value, Math.floor(i / matrix.columns), i % matrix.columns)),
  });

/** The covariance of random inputs: features of different size, mixed. Singular if there are fewer inputs than features. */
function covarianceOf(seed: number, n: number, count: number): Values {
  const inputs = mapped(random(seed, count, n), (value, _, column) => value * 3 ** -(column % 5));
  const mixed = times(inputs, random(seed + 1, n, n));
  return mapped(times(transposed(mixed), mixed), (value) => value / count);
}

const diagonal = (n: number, entry: (i: number) => number): Values =>
  mapped({ values: new Float64Array(n * n), rows: n, columns: n }, (_, row, column) =>
    row === column ? entry(row) : 0,
  );

/** D Σ D. */
const withSizes = (sigma: Values, size: (i: number) => number): Values =>
  mapped(sigma, (value, row, column) => value * size(row) * size(column));

/** Covariances (n, n) by what is special about them. */
export const COVARIANCES: Readonly<Record<string, (seed: number, n: number) => Values>> = {
  "many mixed inputs": (seed, n) => covarianceOf(seed, n, 20 * n),
  "the identity": (_, n) => diagonal(n, () => 1),
  zero: (_, n) => diagonal(n, () => 0),
  "fewer inputs than features": (seed, n) => covarianceOf(seed, n, Math.ceil(n / 3)),
  "one input": (seed, n) => covarianceOf(seed, n, 1),
  "features that never occur": (seed, n) => withSizes(covarianceOf(seed, n, 20 * n), (i) => (i % 3 === 1 ? 1 : 0)),
  "deviations from 1e-6 to 1e6, independent": (_, n) => diagonal(n, (i) => 10 ** (24 * (i / (n - 1 || 1)) - 12)),
  "deviations from 1e6 to 1e-6, mixed": (seed, n) =>
    withSizes(covarianceOf(seed, n, 20 * n), (i) => 10 ** (6 - 12 * (i / (n - 1 || 1)))),
  "a few massive features": (seed, n) =>
    withSizes(covarianceOf(seed, n, 20 * n), (i) => (i === Math.floor(n / 2) || i === n - 1 ? 3000 : 1)),
  "very small inputs": (seed, n) => withSizes(covarianceOf(seed, n, 20 * n), () => 1e-8),
};

/** Weights (m, n) by what is special about them. */
export const WEIGHTS: Readonly<Record<string, (seed: number, m: number, n: number) => Values>> = {
  random: (seed, m, n) => random(seed, m, n),
  "with zeros at the edges": (seed, m, n) =>
    mapped(random(seed, m, n), (value, row, column) =>
      row === 0 || row === m - 1 || column === 0 || column === n - 1 ? 0 : value,
    ),
  "with zeros in the first and last rows": (seed, m, n) =>
    mapped(random(seed, m, n), (value, row) => (row < 2 || row >= m - 2 ? 0 : value)),
  "with zeros in the first columns": (seed, m, n) =>
    mapped(random(seed, m, n), (value, _, column) => (column < 3 ? 0 : value)),
  "with zeros at the corners only": (seed, m, n) =>
    mapped(random(seed, m, n), (value, row, column) =>
      (row === 0 || row === m - 1) && (column === 0 || column === n - 1) ? 0 : value,
    ),
  "of rank one": (seed, m, n) => float32(times(random(seed, m, 1), random(seed + 1, 1, n))),
  "of rank three": (seed, m, n) => float32(times(random(seed, m, 3), random(seed + 1, 3, n))),
  "of equal rows": (seed, m, n) => {
    const rows = random(seed, 4, n);
    return mapped({ values: new Float64Array(m * n), rows: m, columns: n }, (_, row, column) =>
      at(rows.values, (row % 4) * n + column),
    );
  },
  // The whole matrix cannot be eliminated from its corners. Its halves can, but they have the same rank each.
  "of rank five with zeros at the corners": (seed, m, n) => {
    const inside = (i: number, length: number) => i > 0 && i < length - 1;
    const left = mapped(random(seed, m, 5), (value, row, k) => (k < 3 || inside(row, m) ? value : 0));
    const right = mapped(random(seed + 1, 5, n), (value, k, column) => (k >= 3 || inside(column, n) ? value : 0));
    return float32(times(left, right));
  },
  "with one entry": (_, m, n) =>
    mapped({ values: new Float64Array(m * n), rows: m, columns: n }, (_, row, column) =>
      row === Math.floor(m / 2) && column === Math.floor(n / 3) ? 2 : 0,
    ),
  "of zeros": (_, m, n) => ({ values: new Float64Array(m * n), rows: m, columns: n }),
  diagonal: (_, m, n) =>
    mapped({ values: new Float64Array(m * n), rows: m, columns: n }, (_, row, column) => (row === column ? 1 : 0)),
  "of size 1e-20": (seed, m, n) => mapped(random(seed, m, n), (value) => value * 1e-20),
  "of size 1e15": (seed, m, n) => mapped(random(seed, m, n), (value) => value * 1e15),
};

/** Σ^½ in float64. */
export function rootOf(sigma: Values): Values {
  const n = sigma.rows;
  const { values, vectors } = symmetricEigenFloat64(sigma.values, n);
  const scaled = vectors.map((value, i) => value * Math.sqrt(Math.max(0, at(values, Math.floor(i / n)))));
  const rows = { values: vectors, rows: n, columns: n };
  return times(transposed(rows), { ...rows, values: scaled });
}

/** ‖D Σ^½‖, the error of the outputs, in float64. */
export const seenNorm = (difference: Values, root: Values): number => normOf(times(difference, root));

/** The matrix of a rank that minimizes ‖(W − W') Σ^½‖. */
export function bestLowRank(weight: Values, root: Values, rank: number): Values {
  const seen = times(weight, root);
  const scale = Math.max(...seen.values.map(Math.abs)) || 1;
  const { left } = svdFloat64({ ...seen, values: seen.values.map((value) => value / scale) }, { rank });
  const basis = { values: left, rows: rank, columns: weight.rows };
  return times(transposed(basis), times(basis, weight));
}

export const tensorOf = ({ values, rows, columns }: Values): tf.Tensor2D =>
  tf.tensor2d(Float32Array.from(values), [rows, columns]);
