// Decompositions on every engine against what defines them, in float64: triples that rebuild the matrix, orthonormal
// vectors, singular values put in by construction.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { ShapeError } from "../../workbench/engine/core/errors.ts";
import { svdFloat64, symmetricEigenFloat64 } from "../../workbench/engine/linalg/float64.ts";
import { cholesky, solvePositive, solveTriangular, svd, symmetricEigen } from "../../workbench/engine/linalg/index.ts";
import { forEachEngine } from "./engines.ts";
import { expectClose, liveTensors, read, sample, toTensor } from "./ops/operands.ts";

type Values = ArrayLike<number>;
const at = (values: Values, i: number): number => values[i] as number;

const matrix = (values: Values, shape: number[]): tf.Tensor2D => toTensor({ values, shape }) as tf.Tensor2D;

/** aᵀ b of a (length, p) and b (length, q). */
function inner(a: Values, b: Values, length: number): Float64Array {
  const [p, q] = [a.length / length, b.length / length];
  const result = new Float64Array(p * q);
  for (let i = 0; i < p * q; i++) {
    for (let t = 0; t < length; t++) {
      result[i] = at(result, i) + at(a, t * p + Math.floor(i / q)) * at(b, t * q + (i % q));
    }
  }
  return result;
}

const identity = (n: number): number[] => Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));

const turned = (x: Values, rows: number): Float64Array => {
  const columns = x.length / rows;
  return Float64Array.from({ length: x.length }, (_, i) => at(x, (i % rows) * columns + Math.floor(i / rows)));
};

/** u · diag(s) · vᵀ */
function rebuilt(u: Values, s: Values, v: Values): Float64Array {
  const k = s.length;
  const scaled = Float64Array.from(u, (value, i) => value * at(s, i % k));
  return inner(turned(scaled, u.length / k), turned(v, v.length / k), k);
}

/** A float64 matrix (m, n) with these singular values. */
function withSingularValues(s: number[], m: number, n: number, seed: number): Float64Array {
  const k = s.length;
  const basis = (length: number, from: number) => {
    const { values } = sample(from, [k, length]);
    return turned(svdFloat64({ values: Float64Array.from(values), rows: k, columns: length }).right, k);
  };
  return rebuilt(basis(m, seed), s, basis(n, seed + 1));
}

async function decomposed(x: tf.Tensor2D, rank?: number) {
  const { u, s, v } = await svd(x, rank === undefined ? {} : { rank });
  const read3 = { u: await read(u), s: await read(s), v: await read(v), shapes: [u.shape, s.shape, v.shape] };
  tf.dispose([u, s, v]);
  return read3;
}

const SHAPES = [
  [1, 1],
  [1, 5],
  [6, 1],
  [7, 7],
  [12, 31],
  [40, 17],
];

forEachEngine("linalg", () => {
  test.each([
    [[1], 1, 1],
    [[], 7, 3],
    [[2, 3], 12, 5],
  ])("solves stacks %j of positive definite systems of %i equations", async (leading, n, k) => {
    const before = liveTensors();
    const count = leading.reduce((product, length) => product * length, 1);
    const roots = sample(41, [count, n, n + 2]).values;
    const wanted = sample(42, [count, n, k]).values;
    const matrices = new Float64Array(count * n * n);
    const rights = new Float64Array(count * n * k);
    for (let s = 0; s < count; s++) {
      const root = turned(roots.slice(s * n * (n + 2), (s + 1) * n * (n + 2)), n);
      const own = Float64Array.from(inner(root, root, n + 2), Math.fround);
      matrices.set(own, s * n * n);
      rights.set(inner(own, wanted.slice(s * n * k, (s + 1) * n * k), n), s * n * k);
    }
    const [a, b] = [
      toTensor({ values: matrices, shape: [...leading, n, n] }),
      toTensor({ values: rights, shape: [...leading, n, k] }),
    ];
    const x = (await solvePositive(a, b)) as tf.Tensor;
    expect(x.shape).toEqual([...leading, n, k]);
    expectClose(await read(x), wanted, { tolerance: 1e-3 });
    tf.dispose([a, b, x]);
    expect(liveTensors()).toEqual(before);
  });

  test.each(SHAPES)("svd of a matrix (%i, %i) rebuilds it from orthonormal vectors", async (m, n) => {
    const before = liveTensors();
    const operand = sample(m * 100 + n, [m, n]);
    const x = matrix(operand.values, [m, n]);
    const { u, s, v, shapes } = await decomposed(x);
    const k = Math.min(m, n);
    expect(shapes).toEqual([[m, k], [k], [n, k]]);
    expectClose(rebuilt(u, s, v), operand.values, { tolerance: 2e-6 });
    expectClose(inner(u, u, m), identity(k), { tolerance: 2e-6 });
    expectClose(inner(v, v, n), identity(k), { tolerance: 2e-6 });
    expect(Array.from(s)).toEqual(Array.from(s).sort((a, b) => b - a));
    x.dispose();
    expect(liveTensors()).toEqual(before);
  });

  test("svd of a given rank returns the largest triples of the whole decomposition", async () => {
    const x = toTensor(sample(5, [14, 23])) as tf.Tensor2D;
    const all = await decomposed(x);
    const some = await decomposed(x, 3);
    expect(some.shapes).toEqual([[14, 3], [3], [23, 3]]);
    expectClose(some.s, all.s.slice(0, 3), { tolerance: 1e-6 });
    const kept = rebuilt(
      all.u,
      all.s.map((value, i) => (i < 3 ? value : 0)),
      all.v,
    );
    expectClose(rebuilt(some.u, some.s, some.v), kept, { tolerance: 2e-6 });
    x.dispose();
  });

  test.each([
    [20, 9],
    [9, 20],
  ])(
    "singular values of a matrix (%i, %i) are within 1e-5 of their own size down to 1e-3 of the largest",
    async (m, n) => {
      const s = Array.from({ length: 9 }, (_, i) => 10 ** ((-3 * i) / 8));
      const x = matrix(withSingularValues(s, m, n, 31), [m, n]);
      const found = await decomposed(x);
      s.forEach((value, i) => {
        expect(Math.abs(at(found.s, i) / value - 1)).toBeLessThan(1e-5 + 2e-7 / value);
      });
      x.dispose();
    },
  );

  test("svd is as exact on a matrix whose singular values span eleven decades as float32 entries allow", async () => {
    // A diagonal in float32 is exact: its singular values are its entries, however small.
    const s = Float32Array.from({ length: 12 }, (_, i) => 3 * 10 ** -i);
    const x = tf.tidy(() => tf.diag(tf.tensor1d(s)) as tf.Tensor2D);
    const { u, v, s: found } = await decomposed(x);
    s.forEach((value, i) => {
      expect(Math.abs(at(found, i) / value - 1)).toBeLessThan(1e-5);
    });
    expectClose(inner(u, u, 12), identity(12), { tolerance: 2e-6 });
    expectClose(inner(v, v, 12), identity(12), { tolerance: 2e-6 });
    x.dispose();
  });

  test.each([
    ["rank 3 of 8", 3],
    ["zero", 0],
  ])("svd of a matrix that is %s still has orthonormal vectors", async (_, rank) => {
    const values = rank === 0 ? new Float64Array(11 * 8) : withSingularValues([5, 2, 1], 11, 8, 77);
    const x = matrix(values, [11, 8]);
    const { u, s, v } = await decomposed(x);
    expectClose(rebuilt(u, s, v), Float32Array.from(values), { tolerance: 2e-6 });
    expectClose(inner(u, u, 11), identity(8), { tolerance: 2e-6 });
    expectClose(inner(v, v, 8), identity(8), { tolerance: 2e-6 });
    expectClose(
      Array.from(s),
      [5, 2, 1, 0, 0, 0, 0, 0].map((value) => (rank === 0 ? 0 : value)),
      { tolerance: 1e-6 },
    );
    x.dispose();
  });

  test("symmetricEigen rebuilds a symmetric matrix, largest values first", async () => {
    const before = liveTensors();
    const { values } = sample(9, [15, 15]);
    const symmetric = Float64Array.from(values, (value, i) => value + at(values, (i % 15) * 15 + Math.floor(i / 15)));
    const x = matrix(symmetric, [15, 15]);
    const eigen = await symmetricEigen(x);
    const [w, v] = [await read(eigen.values), await read(eigen.vectors)];
    expectClose(rebuilt(v, w, v), symmetric, { tolerance: 2e-6 });
    expectClose(inner(v, v, 15), identity(15), { tolerance: 2e-6 });
    expect(Array.from(w)).toEqual(Array.from(w).sort((a, b) => b - a));
    tf.dispose([x, eigen.values, eigen.vectors]);
    expect(liveTensors()).toEqual(before);
  });

  test("symmetricEigen takes the symmetric part of a matrix that is not quite symmetric", async () => {
    const x = tf.tensor2d([2, 1.5, 0.5, 3], [2, 2]);
    const { values } = await symmetricEigen(x);
    const root = Math.sqrt(1.25);
    expectClose(await read(values), [2.5 + root, 2.5 - root], { tolerance: 1e-6 });
  });

  test("solvePositive solves a system that float32 could not, from the symmetric part of its matrix", async () => {
    const n = 24;
    const values = Array.from({ length: n }, (_, i) => 10 ** (-i / 4));
    const basis = turned(
      svdFloat64({ values: Float64Array.from(sample(8, [n, n]).values), rows: n, columns: n }).right,
      n,
    );
    const exact = Float32Array.from(rebuilt(basis, values, basis));
    const skew = exact.map((value, i) => value + (Math.floor(i / n) < i % n ? 1 : -1) * (i % (n + 1) === 0 ? 0 : 0.25));
    const right = Float64Array.from(sample(9, [n, 3]).values);
    const damping = 1e-3;
    const [a, b] = [matrix(skew, [n, n]), matrix(right, [n, 3])];
    const before = liveTensors();
    const found = await solvePositive(a, b, { damping });
    const solution = await read(found as tf.Tensor2D);
    tf.dispose(found as tf.Tensor2D);
    expect(liveTensors()).toEqual(before);
    const damped = Float64Array.from(exact, (_, i) => {
      const [row, column] = [Math.floor(i / n), i % n];
      return (at(skew, i) + at(skew, column * n + row)) / 2 + (row === column ? damping : 0);
    });
    expectClose(inner(damped, solution, n), right, { tolerance: 1e-4 });
    tf.dispose([a, b]);
  });

  test("solvePositive finds no solution of a system that is not positive definite, and disposes of all tensors", async () => {
    const [a, b] = [matrix([1, 2, 2, 1], [2, 2]), matrix([1, 1], [2, 1])];
    const [stack, rights] = [tf.stack([tf.eye(2), a]), tf.stack([b, b])];
    const before = liveTensors();
    expect(await solvePositive(a, b)).toBeUndefined();
    expect(await solvePositive(stack, rights)).toBeUndefined();
    expect(liveTensors()).toEqual(before);
    tf.dispose([stack, rights]);
    const found = await solvePositive(a, b, { damping: 2 });
    expectClose(await read(found as tf.Tensor2D), [0.2, 0.2], { tolerance: 1e-6 });
    expect(solvePositive(a, b, { damping: -1 })).rejects.toThrow("damping");
    tf.dispose([a, b, found as tf.Tensor2D]);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    "a system with %d has neither a factor nor a solution",
    async (bad) => {
      for (const place of [0, 1, 3]) {
        const values = [2, 0, 0, 2].with(place, bad);
        const [a, b] = [matrix(values, [2, 2]), matrix([1, 1], [2, 1])];
        const before = liveTensors();
        expect(await cholesky(a)).toBeUndefined();
        expect(await solvePositive(a, b)).toBeUndefined();
        expect(liveTensors()).toEqual(before);
        tf.dispose([a, b]);
      }
    },
  );

  const triangles = [false, true].flatMap((transposed) =>
    [
      [1, 1],
      [1, 4],
      [7, 1],
      [24, 9],
      [40, 40],
    ].map(([n, m]) => ({ n: n as number, m: m as number, transposed })),
  );

  test.each(triangles)(
    "solveTriangular of ($n, $n) and ($n, $m), transposed: $transposed, leaves a residual of float32's rounding",
    async ({ n, m, transposed }) => {
      const whole = Float32Array.from(sample(n + m, [n, n]).values, (value, i) =>
        i % (n + 1) === 0 ? 1 + Math.abs(value) : value / 4,
      );
      // What is above the diagonal is not part of the matrix.
      const lower = Float64Array.from(whole, (value, i) => (i % n <= Math.floor(i / n) ? value : 0));
      const right = sample(n, [n, m]).values;
      const before = liveTensors();
      const [l, b] = [matrix(whole, [n, n]), matrix(right, [n, m])];
      const x = await solveTriangular(l, b, { transposed });
      expect(x.shape).toEqual([n, m]);
      const solution = Float64Array.from(await read(x));
      tf.dispose([l, b, x]);
      expect(liveTensors()).toEqual(before);
      const factor = transposed ? lower : turned(lower, n);
      // Rounding of the solution is multiplied by the matrix: entries of the product of absolute values.
      const sizes = inner(factor.map(Math.abs), solution.map(Math.abs), n);
      const product = inner(factor, solution, n);
      for (let i = 0; i < n * m; i++) {
        expect(Math.abs(at(product, i) - at(right, i))).toBeLessThanOrEqual(2e-7 * at(sizes, i));
      }
    },
  );

  test("solveTriangular solves a system in float64 that float32 could not", async () => {
    // Substitution in float32 amplifies its rounding by 2^30 here.
    const n = 30;
    const lower = Float64Array.from({ length: n * n }, (_, i) => {
      const [row, column] = [Math.floor(i / n), i % n];
      return row === column ? 1 : row > column ? -1 : 0;
    });
    const exact = Float64Array.from({ length: n }, (_, i) => 2 ** i + 1);
    const right = inner(turned(lower, n), exact, n);
    const [l, b] = [matrix(lower, [n, n]), matrix(right, [n, 1])];
    const x = await solveTriangular(l, b);
    const found = await read(x);
    expect(Array.from(found)).toEqual(Array.from(solvedInFloat64(lower, Float32Array.from(right), n)));
    tf.dispose([l, b, x]);
  });

  test("solveTriangular of empty operands is empty", async () => {
    for (const transposed of [false, true]) {
      const none = await solveTriangular(tf.zeros([0, 0]), tf.zeros([0, 3]), { transposed });
      expect(none.shape).toEqual([0, 3]);
      const columns = await solveTriangular(tf.eye(4), tf.zeros([4, 0]), { transposed });
      expect(columns.shape).toEqual([4, 0]);
    }
  });

  test("solveTriangular refuses operands that do not fit, by name", async () => {
    const [l, b] = [tf.ones<tf.Rank.R2>([3, 3]), tf.ones<tf.Rank.R2>([4, 2])];
    expect(await refusal(solveTriangular(l, b))).toBe(
      "solveTriangular: right must be float32 (3, m), got float32 (4, 2)",
    );
    expect(await refusal(solveTriangular(b, b))).toBe(
      "solveTriangular: lower must be float32 (n, 4), got float32 (4, 2)",
    );
    tf.dispose([l, b]);
  });

  test("an empty matrix has empty decompositions", async () => {
    const { shapes } = await decomposed(tf.zeros([0, 4]));
    expect(shapes).toEqual([[0, 0], [0], [4, 0]]);
    const { values, vectors } = await symmetricEigen(tf.zeros([0, 0]));
    expect([values.shape, vectors.shape]).toEqual([[0], [0, 0]]);
  });

  test.each([
    ["NaN", Number.NaN],
    ["Infinity", Number.POSITIVE_INFINITY],
  ])("a matrix that holds %s is refused", async (_, bad) => {
    const x = tf.tensor2d([1, 2, bad, 4], [2, 2]);
    const message = "must be finite, it holds Infinity or NaN";
    expect(await refusal(svd(x))).toBe(`svd: matrix ${message}`);
    expect(await refusal(symmetricEigen(x))).toBe(`symmetricEigen: matrix ${message}`);
    x.dispose();
  });

  test("a rank out of range and a matrix that is not square are refused by name", async () => {
    const x = tf.ones<tf.Rank.R2>([3, 5]);
    expect(await refusal(svd(x, { rank: 4 }))).toBe("svd: rank must be an integer from 1 to 3, got 4");
    expect(await refusal(symmetricEigen(x))).toBe("symmetricEigen: matrix must be float32 (n, 3), got float32 (3, 5)");
    x.dispose();
  });
});

async function refusal(result: Promise<unknown>): Promise<string> {
  const error = await result.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ShapeError);
  return (error as ShapeError).message;
}

describe("linalg in float64", () => {
  test("any matrix, deficient ones included, is rebuilt to 1e-13 of its largest singular value", () => {
    const size = fc.integer({ min: 1, max: 9 });
    fc.assert(
      fc.property(
        size,
        size,
        fc.integer({ min: 0, max: 1e6 }),
        fc.integer({ min: 0, max: 14 }),
        (m, n, seed, decades) => {
          const k = Math.min(m, n);
          const s = Array.from({ length: k }, (_, i) => (i > 6 ? 0 : 10 ** ((-decades * i) / k)));
          const values = withSingularValues(s, m, n, seed);
          const { left, s: found, right } = svdFloat64({ values, rows: m, columns: n });
          expectClose(found, s, { tolerance: 1e-13 });
          expectClose(rebuilt(turned(left, k), found, turned(right, k)), values, { tolerance: 1e-13 });
          expectClose(inner(turned(left, k), turned(left, k), m), identity(k), { tolerance: 1e-12 });
          expectClose(inner(turned(right, k), turned(right, k), n), identity(k), { tolerance: 1e-12 });
        },
      ),
      { numRuns: 60, seed: 11 },
    );
  });

  test("eigenvalues of a matrix with a known spectrum are found to 1e-13", () => {
    const [{ left }] = [svdFloat64({ values: Float64Array.from(sample(3, [6, 6]).values), rows: 6, columns: 6 })];
    const spectrum = [4, 1, 0.5, 0, -1, -7];
    const values = rebuilt(turned(left, 6), spectrum, turned(left, 6));
    expectClose(symmetricEigenFloat64(values, 6).values, spectrum, { tolerance: 1e-13 });
  });
});

/** The solution of a lower triangular system by substitution, rounded to float32 once. */
function solvedInFloat64(lower: Values, right: Values, n: number): Float32Array {
  const x = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let left = at(right, i);
    for (let k = 0; k < i; k++) left -= at(lower, i * n + k) * at(x, k);
    x[i] = left / at(lower, i * n + i);
  }
  return Float32Array.from(x);
}
