// The step sizes of factors, against the matrices that random steps make, and how much terms cancel each other.

import { expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { gblr } from "../../workbench/structures/gblr.ts";
import { lowrank } from "../../workbench/structures/lowrank.ts";
import type { Structure } from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { liveTensors, read, sample, toTensor } from "../engine/ops/operands.ts";

const [N_IN, N_OUT, TERMS] = [40, 30, 20];
const STEP = 1e-3;

/** Random factors with terms of very different sizes. */
function factors(structure: Structure, scale: number): Record<string, tf.Tensor> {
  const sizes = tf.tensor1d(Array.from({ length: TERMS }, (_, k) => scale * 10 ** (k / TERMS)));
  const [left, right] = [toTensor(sample(1, [TERMS, N_OUT])), toTensor(sample(2, [TERMS, N_IN]))];
  const [wide, long] = [tf.mul(left, sizes.reshape([TERMS, 1])), tf.mul(right, sizes.reshape([TERMS, 1]))];
  if (structure === lowrank) return { left: tf.transpose(wide), right: long };
  return {
    lr_weight1: tf.reshape(long, [TERMS, 1, N_IN]),
    lr_weight2: tf.reshape(wide, [TERMS, N_OUT, 1]),
    widths: tf.ones([2, TERMS]),
    locations: tf.zeros([2, TERMS]),
  };
}

/** Mean squared length by which W moves if all entries of one factor move by STEP times their step size. */
async function movedBy(structure: Structure, parameters: Record<string, tf.Tensor>, part: string): Promise<number> {
  const steps = structure.stepSizes?.(parameters) ?? {};
  const before = structure.dense(parameters);
  let total = 0;
  const rounds = 20;
  for (let round = 0; round < rounds; round++) {
    const own = parameters[part] as tf.Tensor;
    const signs = tf.sign(toTensor(sample(10 + round, own.shape)));
    const moved = tf.add(own, tf.mul(tf.mul(signs, STEP), steps[part] as tf.Tensor));
    const change = tf.sum(tf.square(tf.sub(structure.dense({ ...parameters, [part]: moved }), before)));
    total += ((await read(change))[0] as number) / rounds;
  }
  return total;
}

forEachEngine("the sizes of factors", () => {
  for (const structure of [gblr, lowrank] as Structure[]) {
    const parts = structure === lowrank ? ["left", "right"] : ["lr_weight1", "lr_weight2"];

    test(`give ${structure.name} step sizes that move the matrix as far as a step of all its entries`, async () => {
      const parameters = factors(structure, 1);
      for (const part of parts) {
        const ratio = (await movedBy(structure, parameters, part)) / (STEP ** 2 * N_IN * N_OUT);
        expect(ratio).toBeGreaterThan(0.9);
        expect(ratio).toBeLessThan(1.1);
      }
    });

    test(`give ${structure.name} step sizes of 1 if factors are small or zero, and leave no tensors`, async () => {
      for (const scale of [1e-3, 0]) {
        const parameters = factors(structure, scale);
        const before = liveTensors().tensors;
        const steps = structure.stepSizes?.(parameters) ?? {};
        expect(liveTensors().tensors).toBe(before + 2);
        for (const part of parts) {
          const values = await read(steps[part] as tf.Tensor);
          expect([...values].every((value) => value === 1)).toBe(true);
          const own = parameters[part] as tf.Tensor;
          expect(tf.mul(own, steps[part] as tf.Tensor).shape).toEqual(own.shape);
        }
      }
    });
  }

  test("tell how much larger the blocks are than their sum", async () => {
    const parameters = factors(gblr, 1);
    // Orthogonal terms: unit vectors of different inputs.
    const places = tf.oneHot(tf.range(0, TERMS, 1, "int32"), N_IN);
    const apart = { ...parameters, lr_weight1: tf.reshape(tf.cast(places, "float32"), [TERMS, 1, N_IN]) };
    expect(await gblr.cancellation?.(apart)).toBeCloseTo(1, 5);
    // Two terms 100 u vᵀ and -99 u vᵀ.
    const pair = { widths: tf.ones([2, 2]), locations: tf.zeros([2, 2]) };
    const cancelled = {
      ...pair,
      lr_weight1: tf.reshape(tf.tensor2d([[100], [-99]]).mul(tf.ones([2, N_IN])), [2, 1, N_IN]),
      lr_weight2: tf.ones([2, N_OUT, 1]),
    };
    expect(await gblr.cancellation?.(cancelled)).toBeCloseTo(Math.hypot(100, 99), 2);
    const opposite = {
      ...cancelled,
      lr_weight1: tf.reshape(tf.tensor2d([[1], [-1]]).mul(tf.ones([2, N_IN])), [2, 1, N_IN]),
    };
    expect(await gblr.cancellation?.(opposite)).toBe(Number.POSITIVE_INFINITY);
    const before = liveTensors().tensors;
    const zeros = { ...cancelled, lr_weight1: tf.zeros([2, 1, N_IN]) };
    expect(await gblr.cancellation?.(zeros)).toBe(1);
    expect(liveTensors().tensors).toBe(before + 1);
  });
});
