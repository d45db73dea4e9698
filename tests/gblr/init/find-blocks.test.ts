// findBlocks on every engine: as good as the reference's runs, within the budget, never worse than truncated SVD, and
// nothing left behind.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { svdFloat64 } from "../../../workbench/engine/linalg/float64.ts";
import { type FindBlocksOptions, findBlocks } from "../../../workbench/gblr/init/index.ts";
import { gaudiMask } from "../../../workbench/gblr/mask.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { liveTensors, sample } from "../../engine/ops/operands.ts";
import olb from "../../fixtures/gblr/olb.json" with { type: "json" };
import { readGolden } from "../../golden.ts";

const golden = readGolden("gblr/olb.safetensors");

interface Plain {
  values: ArrayLike<number>;
  shape: [number, number];
}

/** Masks of a length keep two tensors from their first use on. */
const makeTables = (lengths: number[]): void =>
  tf.tidy(() => {
    for (const length of lengths) {
      gaudiMask(tf.zeros([1]), tf.zeros([1]), length);
    }
  });

/** Runs the search and reads back what it found; counts and errors are worked out anew, in float64. */
async function search({ values, shape }: Plain, options: FindBlocksOptions) {
  makeTables(shape);
  const before = liveTensors();
  const weight = tf.tensor2d(Float32Array.from(values), shape);
  const steps: number[] = [];
  for await (const event of findBlocks(weight, options)) {
    if (event.type === "progress") {
      steps.push(event.step);
      expect(event.count).toBeLessThanOrEqual(options.budget * Math.min(...shape) * (shape[0] + shape[1]) + 1e-6);
      continue;
    }
    const { parameters, ...found } = event;
    const read = Object.fromEntries(
      await Promise.all(Object.entries(parameters).map(async ([name, tensor]) => [name, await tensor.data()] as const)),
    );
    tf.dispose([weight, parameters as unknown as tf.TensorContainer]);
    expect(liveTensors()).toEqual(before);
    return { ...found, steps, ...plainly(read, { values, shape }) };
  }
  throw new Error("the search ended without a result");
}

/** The error and count of blocks, from their definition. */
function plainly(blocks: Record<string, ArrayLike<number>>, { values, shape }: Plain) {
  const [nOut, nIn] = shape;
  const { lr_weight1: v, lr_weight2: u, widths, locations } = blocks as Record<string, Float32Array>;
  const count = (widths as Float32Array).length / 2;
  const dense = new Float64Array(nOut * nIn);
  let counted = 0;
  for (let k = 0; k < count; k++) {
    const span = (side: number, n: number) => {
      const [width, start] = [widths, locations].map((all) =>
        Math.round(((all as Float32Array)[side * count + k] as number) * n),
      );
      return Array.from({ length: width as number }, (_, t) => ((start as number) + t) % n);
    };
    const [inputs, outputs] = [span(0, nIn), span(1, nOut)];
    counted += inputs.length > 0 && outputs.length > 0 ? inputs.length + outputs.length : 0;
    for (const i of outputs) {
      for (const j of inputs) {
        dense[i * nIn + j] =
          (dense[i * nIn + j] as number) +
          ((u as Float32Array)[k * nOut + i] as number) * ((v as Float32Array)[k * nIn + j] as number);
      }
    }
  }
  const norm = (all: ArrayLike<number>) => Math.sqrt(Array.from(all).reduce((sum, value) => sum + value * value, 0));
  const distance = norm(dense.map((value, i) => value - Math.fround(values[i] as number)));
  return { plainCount: counted, plainError: distance === 0 ? 0 : distance / norm(values) };
}

/** The error of truncated SVD, in float64. */
function truncated({ values, shape: [rows, columns] }: Plain, allowed: number): number {
  const { s } = svdFloat64({ values: Float64Array.from(values, Math.fround), rows, columns });
  const squares = s.map((value) => value * value);
  const sum = (all: Float64Array) => all.reduce((total, value) => total + value, 0);
  const all = sum(squares);
  return all === 0 ? 0 : Math.sqrt(sum(squares.subarray(Math.floor(allowed / (rows + columns)))) / all);
}

const RUNS = olb.runs.filter(({ find_mask, structure_lr_base }) => !find_mask && structure_lr_base === 1.25);

forEachEngine("findBlocks", (engine, under) => {
  // A run takes wasm up to two seconds, where three kinds will do, and plain JavaScript much longer.
  const every = { torch: 1, cpu: RUNS.length }[under.name as string] ?? 5;
  for (const run of RUNS.filter((_, i) => i % every === 0)) {
    test(`is as good as the reference on ${run.key}, within the budget`, async () => {
      const [name = "", kind] = run.key.split(".");
      const { values, shape } = golden.get(`${name}.${kind}.M`);
      const matrix: Plain = { values, shape: shape as [number, number] };
      const worst = Math.max(...run.nrmse_f32, ...run.nrmse_f64);
      const budget = run.budget / (48 * 144);
      const found = await search(matrix, { budget, steps: 200, structureRate: 1.25 / 48, every: 100 });
      expect(found.allowed).toBe(run.budget);
      expect(found.error).toBeLessThanOrEqual(1.1 * worst);
      // From one start to another the reference's own runs on blocks spread by a factor of two.
      expect(found.searched).toBeLessThanOrEqual((kind === "rand" ? 1.1 : 2) * worst);
      expect(found.error).toBeLessThanOrEqual(Math.min(found.searched, truncated(matrix, run.budget)) + 1e-5);
      expect(found.plainCount).toBe(found.count);
      expect(found.plainCount).toBeLessThanOrEqual(run.budget);
      expect(Math.abs(found.plainError - found.error)).toBeLessThanOrEqual(1e-5);
      expect(found.steps).toEqual([0, 100]);
    });
  }

  test("holds the budget and never ends worse than truncated SVD, whatever the size, scale and budget", async () => {
    const size = fc.integer({ min: 1, max: 13 });
    const decade = fc.integer({ min: -6, max: 6 });
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    await fc.assert(
      fc.asyncProperty(
        size,
        size,
        decade,
        share,
        fc.integer({ min: 0, max: 1e6 }),
        async (m, n, power, budget, seed) => {
          const matrix: Plain = { values: sample(seed, [m, n], 10 ** power).values, shape: [m, n] };
          const found = await search(matrix, { budget, steps: 8, seed });
          expect(found.plainCount).toBe(found.count);
          expect(found.plainCount).toBeLessThanOrEqual(budget * Math.min(m, n) * (m + n) + 1e-6);
          expect(found.plainError).toBeLessThanOrEqual(truncated(matrix, found.allowed) + 1e-5);
          expect(Math.abs(found.plainError - found.error)).toBeLessThanOrEqual(1e-5);
        },
      ),
      { numRuns: engine().name === "torch" ? 40 : 12, seed: 7 },
    );
  });

  test("finds the same blocks for a matrix and its multiple", async () => {
    const { values } = sample(21, [10, 14]);
    const options = { budget: 0.4, steps: 40, seed: 3 };
    const one = await search({ values, shape: [10, 14] }, options);
    // A power of two: the scaled matrix is the same to the last bit.
    const other = await search(
      { values: Float64Array.from(values, (value) => value * 4096), shape: [10, 14] },
      options,
    );
    expect(other.count).toBe(one.count);
    expect(Math.abs(other.error - one.error)).toBeLessThanOrEqual(1e-5);
  });

  test("a zero matrix is found at once, by blocks of which none matters", async () => {
    const found = await search({ values: new Float32Array(12), shape: [3, 4] }, { budget: 0.5 });
    expect([found.error, found.plainError, found.from, found.steps]).toEqual([0, 0, "svd", []]);
  });

  test("the whole budget gives the matrix back, none gives nothing", async () => {
    const matrix: Plain = { values: sample(4, [6, 9]).values, shape: [6, 9] };
    const whole = await search(matrix, { budget: 1, steps: 3 });
    expect([whole.from, whole.count]).toEqual(["svd", 90]);
    expect(whole.plainError).toBeLessThan(1e-5);
    const nothing = await search(matrix, { budget: 0, steps: 3 });
    expect([nothing.count, nothing.plainError]).toEqual([0, 1]);
  });

  test("leaves nothing behind when its events are no longer wanted", async () => {
    makeTables([8, 12]);
    const before = liveTensors();
    const weight = tf.randomNormal<tf.Rank.R2>([8, 12], 0, 1, "float32", 5);
    for await (const event of findBlocks(weight, { budget: 0.3, every: 1 })) {
      if (event.type === "progress" && event.step === 2) {
        break;
      }
    }
    weight.dispose();
    expect(liveTensors()).toEqual(before);
  });

  test("wrong settings are refused by name", async () => {
    const weight = tf.ones<tf.Rank.R2>([3, 4]);
    const message = (options: FindBlocksOptions) =>
      findBlocks(weight, options)
        .next()
        .then(String, (error: Error) => error.message);
    expect(await message({ budget: 1.5 })).toBe("findBlocks: budget must be a share from 0 to 1, got 1.5");
    expect(await message({ budget: 0.5, steps: 0 })).toBe("findBlocks: steps must be an integer of at least 1, got 0");
    weight.dispose();
  });
});
