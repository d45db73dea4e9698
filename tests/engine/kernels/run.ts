// Runs one computation on the current engine and reads its result, for kernel tests.

import { expect } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { liveTensors } from "../ops/operands.ts";

export interface Computed {
  shape: number[];
  dtype: string;
  values: ArrayLike<number>;
}

/** Runs `compute`, reads its result and holds that nothing else stays behind. */
export async function run(compute: () => tf.Tensor): Promise<Computed> {
  const before = liveTensors();
  const result = tf.tidy(compute);
  const values = await result.data();
  const { shape, dtype } = result;
  result.dispose();
  expect(liveTensors()).toEqual(before);
  return { shape, dtype, values };
}
