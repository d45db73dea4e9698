// What holds for every structure of linear layers: apply is the product with dense, in value and gradients; cost is what
// is multiplied and within the budget; a budget large enough gives the matrix back.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { svdFloat64 } from "../../workbench/engine/linalg/float64.ts";
import type { GblrParameters } from "../../workbench/gblr/matrix.ts";
import { GblrMatrix } from "../../workbench/gblr/matrix.ts";
import { chooseMonarchBlocks } from "../../workbench/structures/blocks.ts";
import type { Structure, StructureParameters } from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, read, sample, toTensor } from "../engine/ops/operands.ts";
import { countProducts } from "./count-products.ts";
import { matrixStructure, STRUCTURES } from "./matrix-structures.ts";

const matrix = (seed: number, nOut: number, nIn: number) => toTensor(sample(seed, [nOut, nIn], 0.5)) as tf.Tensor2D;

interface Case {
  nOut: number;
  nIn: number;
  budget: number;
  leading: readonly number[];
  options?: object;
}

async function check(structure: Structure, given: Case): Promise<void> {
  if (structure.name === "gblr") {
    // The first product of a size fills the tables of its masks, which stay.
    await checkOnce(structure, given);
  }
  const before = liveTensors();
  await checkOnce(structure, given);
  expect(liveTensors()).toEqual(before);
}

async function checkOnce(structure: Structure, { nOut, nIn, budget, leading, options = {} }: Case): Promise<void> {
  const weight = matrix(nOut * 31 + nIn, nOut, nIn);
  const parameters = await structure.fromDense(weight, budget, options);
  expect(Object.keys(parameters)).toEqual([...structure.parameterNames]);
  const cost = await structure.cost(parameters);
  expect(cost).toBeLessThanOrEqual(budget * nOut * nIn * (1 + 1e-9));
  const x = toTensor(sample(5, [...leading, nIn]));
  const dy = toTensor(sample(6, [...leading, nOut]));
  await expectSameProduct(structure, { parameters, x, dy });
  const rows = leading.reduce((product, length) => product * length, 1);
  expect(await multiplied(structure, parameters, x)).toBe(cost * rows);
  tf.dispose([weight, x, dy, parameters]);
}

interface Operands {
  parameters: StructureParameters;
  x: tf.Tensor;
  dy: tf.Tensor;
}

/** y, and the gradients to x and every parameter, through `apply` and through `dense` and one product. */
async function expectSameProduct(structure: Structure, { parameters, x, dy }: Operands): Promise<void> {
  const isFree = (name: string) => parameters[name]?.size !== 0 && !structure.fixed?.includes(name);
  const names = Object.keys(parameters).filter(isFree);
  const inputs = [x, ...names.map((name) => parameters[name] as tf.Tensor)];
  const named = (tensors: tf.Tensor[]) => ({
    ...parameters,
    ...Object.fromEntries(names.map((name, i) => [name, tensors[i] as tf.Tensor])),
  });
  const applied = tf.valueAndGrads((x: tf.Tensor, ...rest: tf.Tensor[]) => structure.apply(named(rest), x));
  const plain = tf.valueAndGrads((x: tf.Tensor, ...rest: tf.Tensor[]) => {
    const dense = structure.dense(named(rest));
    const rows = tf.reshape(x, [-1, dense.shape[1]]);
    return tf.reshape(tf.matMul(rows, dense, false, true), [...x.shape.slice(0, -1), dense.shape[0]]);
  });
  const [actual, expected] = [applied(inputs, dy), plain(inputs, dy)];
  expect(actual.value.shape).toEqual(dy.shape);
  expectClose(await read(actual.value), await read(expected.value), { terms: await read(x) });
  for (const i of inputs.keys()) {
    const [gradient, wanted] = [actual.grads[i] as tf.Tensor, expected.grads[i] as tf.Tensor];
    expectClose(await read(gradient), await read(wanted), { terms: await read(dy) });
  }
  const dense = structure.dense(parameters);
  expect(dense.shape).toEqual([dy.shape.at(-1) as number, x.shape.at(-1) as number]);
  tf.dispose([actual, expected, dense]);
}

/** What a product with x multiplies; of GBLR, whose zeros are skipped in inference only, the entries that are not 0. */
async function multiplied(structure: Structure, parameters: StructureParameters, x: tf.Tensor): Promise<number> {
  if (structure.name !== "gblr") {
    return countProducts(() => structure.apply(parameters, x));
  }
  const { input, output } = new GblrMatrix(parameters as unknown as GblrParameters).factors();
  const [a, b] = [await read(input), await read(output)];
  const blocks = input.shape[0];
  let count = 0;
  for (let k = 0; k < blocks; k++) {
    const nonzero = (values: Float32Array) =>
      values.subarray((k * values.length) / blocks, ((k + 1) * values.length) / blocks).filter((value) => value !== 0)
        .length;
    const [columns, rows] = [nonzero(a), nonzero(b)];
    count += rows > 0 && columns > 0 ? Math.min(rows + columns, rows * columns) : 0;
  }
  tf.dispose([input, output]);
  return (count * x.size) / (x.shape.at(-1) as number);
}

/** The least budget that pays for every structure's whole matrix, with room for padding. */
const FULL = 3;

const budgets = fc.double({ min: 0.5, max: 1.5, noNaN: true });
const cases = fc.record({
  nOut: fc.integer({ min: 6, max: 30 }),
  nIn: fc.integer({ min: 6, max: 30 }),
  budget: budgets,
  leading: fc.constantFrom([1], [7], [2, 3], []),
});

forEachEngine("structures", () => {
  for (const structure of STRUCTURES) {
    test(`${structure.name} applies as its dense matrix does and costs what it multiplies`, async () => {
      const least = structure.name === "dense" ? 1 : 0;
      const property = fc.asyncProperty(cases, (given) =>
        check(structure, { ...given, budget: Math.max(least, given.budget) }),
      );
      await fc.assert(property, { seed: 13, numRuns: 8 });
    });
  }

  test.each([
    ["monarch", { blocks: 4 }],
    ["monarch", { blocks: 5, rank: 2 }],
    ["block-low-rank", { blocks: 3 }],
    ["blast", { blocks: 5, iterations: 3 }],
    ["block-sparse", { side: 4, lowRankShare: 0.5, rounds: 1 }],
    ["block-sparse", { side: 8, lowRankShare: 0 }],
    ["gblr", { widths: "splr0.5", locations: "uniform", seed: 3 }],
  ])("%s with options %j applies as its dense matrix does", async (name, options) => {
    for (const [nOut, nIn] of [
      [24, 16],
      [17, 26],
    ] as const) {
      await check(matrixStructure(name), { nOut, nIn, budget: 1.2, leading: [3], options });
    }
  });

  // Block sparse keeps every block, Monarch has one block or blocks of full rank, the others full rank.
  test.each([
    ["dense", {}, 1],
    ["gblr", {}, FULL],
    ["lowrank", {}, FULL],
    ["pifa", {}, 1],
    ["btt", {}, FULL],
    ["monarch", {}, FULL],
    ["monarch", { blocks: 4 }, FULL],
    ["monarch", { blocks: 5 }, FULL],
    ["block-low-rank", {}, FULL],
    ["block-low-rank", { blocks: 3 }, FULL],
    ["blast", {}, FULL],
    ["blast", { blocks: 5 }, FULL],
    ["block-sparse", {}, 1],
    ["block-sparse", { side: 8 }, FULL],
  ])("%s with options %j gives its matrix back when the budget is %d", async (name, options, budget) => {
    const structure = matrixStructure(name);
    for (const [nOut, nIn] of [
      [24, 16],
      [17, 26],
    ] as const) {
      const weight = matrix(3, nOut, nIn);
      const parameters = await structure.fromDense(weight, budget, options);
      const tolerance = name === "dense" || name === "block-sparse" ? 0 : 2e-6;
      expectClose(await read(structure.dense(parameters)), await read(weight), { tolerance });
    }
  });

  for (const name of ["gblr", "lowrank", "pifa", "btt", "monarch", "block-low-rank", "block-sparse"]) {
    test(`${name} comes closer to its matrix the more it may cost`, async () => {
      const structure = matrixStructure(name);
      const weight = matrix(8, 32, 32);
      const errors: number[] = [];
      for (const budget of [0.25, 0.5, 0.75, 1, 2]) {
        const parameters = await structure.fromDense(weight, budget);
        const rest = tf.tidy(() => tf.norm(tf.sub(weight, structure.dense(parameters))));
        errors.push((await read(rest))[0] as number);
      }
      expect(errors).toEqual(errors.toSorted((a, b) => b - a));
      expect(errors[4]).toBeLessThan(1e-4);
    });
  }

  test("lowrank and gblr are the truncated decomposition that the budget pays for", async () => {
    const { values } = sample(8, [20, 12], 0.5);
    const { s } = svdFloat64({ values: Float64Array.from(values), rows: 20, columns: 12 });
    const weight = matrix(8, 20, 12);
    const rank = 5;
    const budget = (rank * (20 + 12)) / (20 * 12);
    const lost = Math.sqrt(s.slice(rank).reduce((sum, value) => sum + value ** 2, 0));
    for (const name of ["lowrank", "gblr"]) {
      const structure = matrixStructure(name);
      const parameters = await structure.fromDense(weight, budget);
      expect(await structure.cost(parameters)).toBe(rank * (20 + 12));
      const rest = tf.tidy(() => tf.norm(tf.sub(weight, structure.dense(parameters))));
      expect(Math.abs(((await read(rest))[0] as number) / lost - 1)).toBeLessThan(1e-5);
    }
  });

  test("pifa is a low-rank matrix of a higher rank at the same cost", async () => {
    const [nOut, nIn, rank] = [20, 12, 5];
    const weight = matrix(8, nOut, nIn);
    const { left, right } = await matrixStructure("lowrank").fromDense(weight, (rank * (nOut + nIn)) / (nOut * nIn));
    const same = await matrixStructure("pifa").fromDense(weight, (rank * (nOut + nIn - rank)) / (nOut * nIn));
    expect(same.pivots?.shape).toEqual([rank, nIn]);
    const product = tf.matMul(left as tf.Tensor2D, right as tf.Tensor2D);
    expectClose(await read(matrixStructure("pifa").dense(same)), await read(product), { tolerance: 1e-5 });
    const order = await read(same.order as tf.Tensor);
    expect(Array.from(order).toSorted((a, b) => a - b)).toEqual(Array.from({ length: nOut }, (_, o) => o));
    // 6 (20 + 12 − 6) = 156 is within the 160 of rank 5.
    const higher = await matrixStructure("pifa").fromDense(weight, (rank * (nOut + nIn)) / (nOut * nIn));
    expect(higher.pivots?.shape).toEqual([rank + 1, nIn]);
  });

  test("btt has the factors nearest to the roots of both sides as its grid", async () => {
    const gridOf = async (nOut: number, nIn: number) => {
      const { first, second } = await matrixStructure("btt").fromDense(matrix(2, nOut, nIn), 1);
      return [first?.shape[2], second?.shape[1]];
    };
    expect(await gridOf(36, 36)).toEqual([6, 6]);
    expect(await gridOf(48, 24)).toEqual([6, 6]);
    // Primes have no factors, so that blocks are padded.
    expect(await gridOf(37, 41)).toEqual([6, 7]);
  });

  test("monarch takes about the published number of blocks, one where the budget pays for full rank", () => {
    const blocksAt = (budget: number, nOut: number, nIn: number) =>
      chooseMonarchBlocks(budget * nOut * nIn, { nOut, nIn });
    expect([0.125, 0.25, 0.5].map((budget) => blocksAt(budget, 768, 768))).toEqual([16, 8, 4]);
    // Published: 10, where whole ranks spend less.
    expect([0.125, 0.25].map((budget) => blocksAt(budget, 3072, 768))).toEqual([9, 5]);
    expect(blocksAt(0.25, 768, 2304)).toBe(5);
    expect([blocksAt(2, 768, 768), blocksAt(3, 17, 26)]).toEqual([1, 1]);
  });

  test("block-sparse fits its two parts better by turns than once", async () => {
    const weight = matrix(4, 32, 32);
    const structure = matrixStructure("block-sparse");
    const errorAfter = async (rounds: number) => {
      const parameters = await structure.fromDense(weight, 0.5, { rounds });
      const rest = tf.tidy(() => tf.norm(tf.sub(weight, structure.dense(parameters))));
      return (await read(rest))[0] as number;
    };
    expect(await errorAfter(6)).toBeLessThan((await errorAfter(0)) * 0.999);
  });
});
