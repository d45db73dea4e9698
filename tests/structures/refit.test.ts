// The refit to outputs against optima in float64: that of low rank, and the least-squares solution of fixed blocks. For
// every structure it is never worse than its start, whatever the covariance, and leaves no tensors behind.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { inverse, Matrix } from "ml-matrix";
import { svdFloat64, symmetricEigenFloat64 } from "../../workbench/engine/linalg/float64.ts";
import { type RefitOptions, type Refitted, refit } from "../../workbench/structures/fit/refit.ts";
import { layerErrors } from "../../workbench/structures/layer-errors.ts";
import type { SearchProgress, Structure, StructureParameters } from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, read, sample, toTensor } from "../engine/ops/operands.ts";
import { matrixStructure, STRUCTURES } from "./matrix-structures.ts";

const matrixOf = (values: ArrayLike<number>, rows: number, columns: number): Matrix =>
  Matrix.from1DArray(rows, columns, Array.from(values));

const tensorOf = (matrix: Matrix): tf.Tensor2D => tf.tensor2d(matrix.to2DArray());

/** Σ of `count` random inputs whose scales differ by `spread`, in float64. */
function covarianceOf(
  seed: number,
  { nIn, count, spread = 1 }: { nIn: number; count: number; spread?: number },
): Matrix {
  const x = matrixOf(sample(seed, [count, nIn]).values, count, nIn);
  const scaled = x.mulRowVector(Array.from({ length: nIn }, (_, i) => spread ** (i / nIn - 0.5)));
  return scaled.transpose().mmul(scaled).div(count);
}

/** tr((T − W') Σ (T − W')ᵀ) in float64. */
function energy(target: Matrix, approximation: Matrix, covariance: Matrix): number {
  const rest = Matrix.sub(target, approximation);
  return rest.mmul(covariance).mul(rest).sum();
}

const densely = async (structure: Structure, parameters: StructureParameters): Promise<Matrix> => {
  const dense = structure.dense(parameters);
  const matrix = matrixOf(await read(dense), ...dense.shape);
  dense.dispose();
  return matrix;
};

async function finished<Result>(steps: AsyncGenerator<SearchProgress, Result>): Promise<[Result, SearchProgress[]]> {
  const events: SearchProgress[] = [];
  for (;;) {
    const next = await steps.next();
    if (next.done) return [next.value, events];
    events.push(next.value);
  }
}

const refitted = async (structure: Structure, start: StructureParameters, options: RefitOptions): Promise<Refitted> =>
  (await finished(refit(structure, start, options)))[0];

/** The structures that have a refit as their initialization `activation`. */
const REFITTED = STRUCTURES.filter(
  ({ name, starts }) => starts?.activation && !["gblr", "lowrank", "pifa"].includes(name),
);

describe("the structures", () => {
  test("that have a refit as their initialization are among those tested", () => {
    expect(REFITTED.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["monarch", "block-low-rank", "block-sparse"]),
    );
  });
});

forEachEngine("the refit to outputs", (_, { name: engine }) => {
  test("takes low rank from the nearest entries to the optimum of outputs", async () => {
    const [nOut, nIn, rank] = [18, 14, 4];
    const weight = toTensor(sample(1, [nOut, nIn])) as tf.Tensor2D;
    const covariance = covarianceOf(2, { nIn, count: 60, spread: 20 });
    const structure = matrixStructure("lowrank");
    const start = await structure.fromDense(weight, (rank * (nOut + nIn)) / (nOut * nIn));
    const found = await refitted(structure, start, {
      target: weight,
      covariance: tensorOf(covariance),
      evaluations: 400,
    });
    // The optimum omits the smallest singular values of W Σ^½.
    const target = matrixOf(await read(weight), nOut, nIn);
    const { values, vectors } = symmetricEigenFloat64(Float64Array.from(covariance.to1DArray()), nIn);
    const turned = target.mmul(matrixOf(vectors, nIn, nIn).transpose()).mulRowVector(Array.from(values, Math.sqrt));
    const { s } = svdFloat64({ values: Float64Array.from(turned.to1DArray()), rows: nOut, columns: nIn });
    const squares = Array.from(s, (value) => value ** 2);
    const total = (from: number) => squares.slice(from).reduce((sum, value) => sum + value, 0);
    const optimum = Math.sqrt(total(rank) / total(0));
    expect(found.errorBefore).toBeGreaterThan(1.02 * optimum);
    expect(found.error).toBeGreaterThan((1 - 1e-5) * optimum);
    expect(found.error).toBeLessThan(1.0005 * optimum);
  });

  test("finds the least-squares solution of a matrix whose blocks are fixed", async () => {
    const [nOut, nIn, side, kept] = [16, 12, 4, 2];
    const weight = toTensor(sample(3, [nOut, nIn])) as tf.Tensor2D;
    const covariance = covarianceOf(4, { nIn, count: 50, spread: 10 });
    const structure = matrixStructure("block-sparse");
    const start = await structure.fromDense(weight, kept / side, { side, lowRankShare: 0 });
    expect(start.left?.size).toBe(0);
    const found = await refitted(structure, start, {
      target: weight,
      covariance: tensorOf(covariance),
      evaluations: 400,
    });
    // Row by row: w' Σ[kept, kept] = (w Σ)[kept], where block row i keeps the block columns i and i XOR 1.
    const seen = matrixOf(await read(weight), nOut, nIn).mmul(covariance);
    const truth = new Matrix(nOut, nIn);
    for (let o = 0; o < nOut; o++) {
      const row = Math.floor(o / 4);
      const columns = [row, row ^ 1].sort().flatMap((block) => [0, 1, 2].map((i) => 3 * block + i));
      const own = inverse(covariance.selection(columns, columns));
      const values = Matrix.rowVector(columns.map((c) => seen.get(o, c))).mmul(own);
      for (const [i, c] of columns.entries()) truth.set(o, c, values.get(0, i));
    }
    expectClose((await densely(structure, found.parameters)).to1DArray(), truth.to1DArray(), { tolerance: 3e-3 });
  });

  const COVARIANCES: [string, (nIn: number) => Matrix][] = [
    ["random", (nIn) => covarianceOf(5, { nIn, count: 3 * nIn })],
    ["badly scaled", (nIn) => covarianceOf(6, { nIn, count: 3 * nIn, spread: 1e4 })],
    ["of fewer samples than inputs", (nIn) => covarianceOf(7, { nIn, count: 5 })],
    ["of rank one", (nIn) => covarianceOf(8, { nIn, count: 1 })],
    [
      "zero in some inputs",
      (nIn) => covarianceOf(9, { nIn, count: 40 }).mulRowVector(zeroed(nIn)).mulColumnVector(zeroed(nIn)),
    ],
    ["tiny", (nIn) => covarianceOf(10, { nIn, count: 40 }).mul(1e-12)],
  ];
  const zeroed = (nIn: number) => Array.from({ length: nIn }, (_, i) => (i % 3 === 0 ? 0 : 1));

  for (const structure of REFITTED) {
    test.each(COVARIANCES)(
      `makes ${structure.name} no worse than its decomposition for a covariance that is %s`,
      async (_, make) => {
        const before = liveTensors();
        const [nOut, nIn, budget] = [20, 17, 0.7];
        const weight = toTensor(sample(11, [nOut, nIn])) as tf.Tensor2D;
        const exact = make(nIn);
        const covariance = tensorOf(exact);
        const layer = {
          name: "fc",
          nOut,
          nIn,
          allowed: Math.floor(budget * nOut * nIn),
          cost: structure.costWithin({ nOut, nIn }, budget),
        };
        const options = { structure, layer, covariance, searchSteps: 0, refitEvaluations: 40 };
        const start = structure.starts?.activation?.(weight, options) as AsyncGenerator<
          SearchProgress,
          { parameters: StructureParameters; by: string }
        >;
        const [{ parameters, by }, events] = await finished(start);
        expect(by).toBe("activation");
        expect(await structure.cost(parameters)).toBeLessThanOrEqual(layer.allowed);
        expect(events.every(({ name, step, steps }) => name === "fc" && step <= steps)).toBe(true);
        const plain = await structure.fromDense(weight, budget);
        const target = matrixOf(await read(weight), nOut, nIn);
        const [error, plainError] = [await densely(structure, parameters), await densely(structure, plain)].map(
          (each) => energy(target, each, exact),
        );
        expect(Object.keys(parameters)).toEqual([...structure.parameterNames]);
        expect(error).toBeLessThanOrEqual((plainError as number) * (1 + 1e-5));
        tf.dispose([weight, covariance, parameters, plain]);
        expect(liveTensors()).toEqual(before);
      },
    );
  }

  test.each(STRUCTURES.filter(({ scaleInputs }) => scaleInputs).map((each) => [each.name, each] as const))(
    "%s absorbs a scale of its inputs",
    async (_, structure) => {
      const weight = toTensor(sample(12, [18, 15])) as tf.Tensor2D;
      const scale = toTensor(sample(13, [15])) as tf.Tensor1D;
      const parameters = await structure.fromDense(weight, 0.8);
      const scaled = structure.dense({ ...parameters, ...structure.scaleInputs?.(parameters, scale) });
      expectClose(await read(scaled), await read(tf.mul(structure.dense(parameters), scale)));
    },
  );

  test("lowers the error in every iteration, and leaves the places of blocks alone", async () => {
    const weight = toTensor(sample(14, [16, 16])) as tf.Tensor2D;
    const covariance = tensorOf(covarianceOf(15, { nIn: 16, count: 40, spread: 5 }));
    const structure = matrixStructure("gblr");
    const start = await structure.fromDense(weight, 0.6);
    const [found, events] = await finished(
      refit(structure, start, { target: weight, covariance, evaluations: 30, name: "q" }),
    );
    const errors = events.map(({ error }) => error);
    expect(errors.length).toBeGreaterThan(5);
    expect(errors).toEqual(errors.toSorted((a, b) => b - a));
    for (const place of ["widths", "locations"] as const) {
      expect(await read(found.parameters[place] as tf.Tensor)).toEqual(await read(start[place] as tf.Tensor));
    }
    const dense = structure.dense(found.parameters);
    expect(found.error).toBeCloseTo((await layerErrors(weight, dense, covariance)).outputError as number, 6);
    expect(found.error).toBeLessThan(found.errorBefore);
    expect(await structure.cost(found.parameters)).toBe(await structure.cost(start));
  });

  test("stops when it is aborted, and disposes of all tensors", async () => {
    const before = liveTensors();
    const weight = toTensor(sample(16, [12, 12])) as tf.Tensor2D;
    const covariance = tensorOf(covarianceOf(17, { nIn: 12, count: 30 }));
    const structure = matrixStructure("monarch");
    const start = await structure.fromDense(weight, 0.6);
    const controller = new AbortController();
    const steps = refit(structure, start, { target: weight, covariance, signal: controller.signal });
    expect((await steps.next()).done).toBe(false);
    controller.abort(new Error("enough"));
    await expect(steps.next()).rejects.toThrow("enough");
    tf.dispose([weight, covariance, start]);
    expect(liveTensors()).toEqual(before);
  });

  test.skipIf(engine === "cpu")("is never worse for random sizes, seeds and numbers of evaluations", async () => {
    const cases = fc.record({
      structure: fc.constantFrom(...REFITTED, matrixStructure("lowrank")),
      nOut: fc.integer({ min: 6, max: 24 }),
      nIn: fc.integer({ min: 6, max: 24 }),
      seed: fc.integer({ min: 0, max: 1000 }),
      evaluations: fc.integer({ min: 1, max: 25 }),
    });
    const property = fc.asyncProperty(cases, async ({ structure, nOut, nIn, seed, evaluations }) => {
      const target = toTensor(sample(seed, [nOut, nIn])) as tf.Tensor2D;
      const covariance = tensorOf(covarianceOf(seed + 1, { nIn, count: 1 + (seed % 40), spread: 1 + (seed % 100) }));
      const start = await structure.fromDense(target, 0.9);
      const [found, events] = await finished(refit(structure, start, { target, covariance, evaluations }));
      expect(found.error).toBeLessThanOrEqual(found.errorBefore);
      expect(found.evaluations).toBeLessThanOrEqual(evaluations);
      expect(events.length).toBeLessThan(evaluations);
      tf.dispose([target, covariance, start, found.parameters]);
    });
    await fc.assert(property, { seed: 5, numRuns: 15 });
  });
});
