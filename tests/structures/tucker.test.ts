// Tucker-2 convolutions against the dense convolution, against float64, and against what they multiply.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import type { StructureParameters } from "../../workbench/structures/structure.ts";
import {
  isTuckerRank,
  tuckerConvolution,
  tuckerCost,
  tuckerFactors,
  tuckerKernel,
  tuckerKind,
  tuckerRanks,
} from "../../workbench/structures/tucker.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, read, sample, toTensor } from "../engine/ops/operands.ts";
import { countProducts } from "./count-products.ts";

const kernelOf = (seed: number, shape: number[]) => toTensor(sample(seed, shape, 0.3)) as tf.Tensor4D;

/** Of a layer with this stride. */
function costOf(parameters: StructureParameters, { stride }: { stride: number }): Promise<number> {
  const [rows = 0, columns = 0] = parameters.core?.shape ?? [];
  const convolution = { kernel: [rows, columns] as const, stride, padding: 0 };
  return tuckerKind.forLayer({ name: "layer", nIn: 1, nOut: 1, convolution }, {}).cost(parameters);
}

interface Case {
  nIn: number;
  nOut: number;
  budget: number;
  geometry: { stride: number; padding: number };
}

async function check({ nIn, nOut, budget, geometry }: Case): Promise<void> {
  const before = liveTensors();
  const kernel = kernelOf(nIn * 17 + nOut, [3, 3, nIn, nOut]);
  const parameters = await tuckerFactors(kernel, budget, { stride: geometry.stride });
  const cost = await costOf(parameters, geometry);
  expect(cost).toBeLessThanOrEqual(budget * kernel.size * (1 + 1e-9));
  const x = toTensor(sample(2, [2, 6, 8, nIn])) as tf.Tensor4D;
  const names = ["input", "core", "output"];
  const inputs = [x, ...names.map((name) => parameters[name] as tf.Tensor)];
  const named = (tensors: tf.Tensor[]) => Object.fromEntries(names.map((name, i) => [name, tensors[i] as tf.Tensor]));
  const value = tuckerConvolution(parameters, x, geometry);
  const dy = toTensor(sample(3, value.shape));
  const applied = tf.valueAndGrads(
    (x: tf.Tensor, ...rest: tf.Tensor[]): tf.Tensor => tuckerConvolution(named(rest), x as tf.Tensor4D, geometry),
  )(inputs, dy);
  const plain = tf.valueAndGrads(
    (x: tf.Tensor, ...rest: tf.Tensor[]): tf.Tensor =>
      tf.conv2d(x as tf.Tensor4D, tuckerKernel(named(rest)), geometry.stride, geometry.padding),
  )(inputs, dy);
  expectClose(await read(applied.value), await read(plain.value), { terms: await read(x) });
  for (const [i, gradient] of applied.grads.entries()) {
    expectClose(await read(gradient), await read(plain.grads[i] as tf.Tensor), { terms: await read(dy) });
  }
  tf.dispose([kernel, parameters, x, value, dy, applied, plain]);
  expect(liveTensors()).toEqual(before);
}

const cases = fc.record({
  nIn: fc.integer({ min: 3, max: 12 }),
  nOut: fc.integer({ min: 3, max: 12 }),
  budget: fc.double({ min: 0.6, max: 2, noNaN: true }),
  geometry: fc.record({ stride: fc.constantFrom(1, 2), padding: fc.constantFrom(0, 1) }),
});

forEachEngine("tucker", () => {
  test("applies as its dense kernel does, in value and gradients, within the budget", async () => {
    await fc.assert(fc.asyncProperty(cases, check), { seed: 5, numRuns: 8 });
  });

  test.each([[1], [2]])("costs what it multiplies at stride %i", async (stride) => {
    const parameters = await tuckerFactors(kernelOf(1, [3, 3, 8, 10]), 1, { stride });
    const x = toTensor(sample(2, [2, 8, 12, 8])) as tf.Tensor4D;
    const positions = (2 * 8 * 12) / stride ** 2;
    const counted = await countProducts(() => tuckerConvolution(parameters, x, { stride, padding: 1 }));
    expect(counted).toBe(positions * (await costOf(parameters, { stride })));
  });

  test("gives its kernel back at full ranks, and when the budget pays for them", async () => {
    for (const shape of [
      [3, 3, 6, 9],
      [1, 3, 7, 5],
      [3, 3, 2, 20],
    ]) {
      const kernel = kernelOf(4, shape);
      const parameters = await tuckerFactors(kernel, 20);
      expectClose(await read(tuckerKernel(parameters)), await read(kernel), { tolerance: 2e-6 });
    }
  });

  test("finds a kernel that has the ranks asked for", async () => {
    const [input, core, output] = [sample(1, [9, 3]), sample(2, [3, 3, 3, 4]), sample(3, [4, 8])].map(toTensor);
    const exact = { input, core, output } as Record<string, tf.Tensor>;
    const kernel = tuckerKernel(exact);
    const parameters = await tuckerFactors(kernel, 1, { ranks: { input: 3, output: 4 } });
    expectClose(await read(tuckerKernel(parameters)), await read(kernel), { tolerance: 2e-6 });
  });

  test("comes closer with each round, and never farther than the two cuts lose together", async () => {
    const kernel = kernelOf(6, [3, 3, 12, 10]);
    const ranks = { input: 4, output: 3 };
    const errorAfter = async (rounds: number) => {
      const parameters = await tuckerFactors(kernel, 1, { ranks, rounds });
      const rest = tf.tidy(() => tf.norm(tf.sub(kernel, tuckerKernel(parameters))));
      return (await read(rest))[0] as number;
    };
    const errors = [await errorAfter(0), await errorAfter(1), await errorAfter(5)] as const;
    expect(errors[1]).toBeLessThan(errors[0] * 0.999);
    expect(errors[2]).toBeLessThan(errors[1]);
  });

  test("refuses ranks that cannot feed each other and budgets that pay for none", async () => {
    const kernel = kernelOf(1, [3, 3, 30, 30]);
    const refusal = async (budget: number, options: object) => {
      const outcome = await tuckerFactors(kernel, budget, options).catch((error: Error) => error);
      return (outcome as Error).message;
    };
    expect(await refusal(1, { ranks: { input: 30, output: 2 } })).toBe(
      "tucker: ranks must be integers from 1 to (30, 30) with r_in at most positions · r_out and r_out at most positions · r_in, got (30, 2)",
    );
    expect(await refusal(0.005, {})).toBe(
      "tucker: ranks (1, 1) of (30, 270) takes 0.00851852 of the dense multiply-adds, the budget is 0.005; " +
        "raise the budget or request less",
    );
  });
});

test("the ranks chosen for a budget have the least bound of all that it pays for", () => {
  const spectrum = fc
    .array(fc.double({ min: 0.01, max: 5, noNaN: true }), { minLength: 1, maxLength: 7 })
    .map((values) => values.toSorted((a, b) => b - a));
  const lost = (values: number[], rank: number) =>
    values.slice(rank).reduce((sum, s) => sum + s * s, 0) / values.reduce((sum, s) => sum + s * s, 0);
  fc.assert(
    fc.property(spectrum, spectrum, fc.integer({ min: 1, max: 500 }), (input, output, allowed) => {
      const size = { positions: 4, nIn: input.length, nOut: output.length, inputsPerOutput: 1 };
      const bound = (ranks: { input: number; output: number }) => lost(input, ranks.input) + lost(output, ranks.output);
      const found = tuckerRanks(size, { input, output }, allowed);
      let least = Number.POSITIVE_INFINITY;
      for (let i = 1; i <= input.length; i++) {
        for (let o = 1; o <= output.length; o++) {
          const ranks = { input: i, output: o };
          if (isTuckerRank(size, ranks) && tuckerCost(size, ranks) <= allowed) {
            least = Math.min(least, bound(ranks));
          }
        }
      }
      expect(found === undefined).toBe(least === Number.POSITIVE_INFINITY);
      if (found) {
        expect(tuckerCost(size, found)).toBeLessThanOrEqual(allowed);
        expect(bound(found)).toBeCloseTo(least, 12);
      }
    }),
    { seed: 3, numRuns: 200 },
  );
});
